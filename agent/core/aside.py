"""Operations that take long: their slow parts run beside the core thread, one at a time, everything else on it.

Such an operation is a generator. It yields a callable for each slow part, gets its result (or its exception) at the
yield, and returns its output. What stands between the yields runs on the core thread, so others are served meanwhile.
It can also yield `Together`: what several requests that wait at the same time have done in one go.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from agent.core.loop import Loop, LoopStoppedError
from agent.core.tree import Tree
from agent.errors import RequestError

_STOPPING = "the agent is shutting down: try again after its restart"
Part = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Together:
    """`act` runs on the core thread, for all items that requests have yielded for it by then, in their order.

    It gives a result for each of the first of them, one at least; an exception among these is raised at that item's
    yield. It is called again for the others, when what is queued by then has been done.
    """

    item: Any
    act: Callable[[Sequence[Any]], Sequence[Any]]


Steps = Generator[Part | Together, Any, Tree | None]
"""An operation that is under way."""
MOST = 256
"""Items of one go."""


class Aside:
    """One thread beside the core thread."""

    def __init__(self, loop: Loop, failed: Callable[[str], RequestError]) -> None:
        """`failed` makes the error of a step that broke off, and logs why."""
        self._loop = loop
        self._failed = failed
        self._thread = ThreadPoolExecutor(1, "aside")
        self._stopping = False
        self._waiting: dict[Any, list[tuple[Steps, Future[Tree | None], Any]]] = {}

    def stop(self) -> None:
        """Let the part that runs end, and take no more. The loop must still run, for what follows it."""
        self._stopping = True
        self._thread.shutdown(wait=True)

    def run(self, begin: Callable[[], Tree | Steps | None]) -> Future[Tree | None]:
        """`begin` on the core thread, and all steps of what it begins. The future's exception is what they raise."""
        answer: Future[Tree | None] = Future()
        self._submit(lambda: self._begin(begin, answer), answer)
        return answer

    def _submit(self, call: Callable[[], None], answer: Future[Tree | None]) -> None:
        """On the core thread; where that has ended, the answer says so."""

        def ended(done: Future[None]) -> None:
            error = done.exception()
            if error is not None and not answer.cancelled():
                answer.set_exception(error)

        self._loop.submit(call).add_done_callback(ended)

    def _begin(self, begin: Callable[[], Tree | Steps | None], answer: Future[Tree | None]) -> None:
        if not answer.set_running_or_notify_cancel():
            return
        try:
            result = begin()
        except BaseException as error:
            answer.set_exception(error)
            return
        if isinstance(result, Generator):
            self._step(result, answer, lambda: next(result))
        else:
            answer.set_result(result)

    def _step(self, steps: Steps, answer: Future[Tree | None], resume: Callable[[], Part | Together]) -> None:
        """From one yield to the next, or to the end."""
        try:
            part = resume()
        except StopIteration as end:
            answer.set_result(end.value)
        except (RequestError, LoopStoppedError) as error:
            answer.set_exception(error)
        except Exception:
            answer.set_exception(self._failed("an operation"))
        else:
            if isinstance(part, Together):
                self._gather(steps, answer, part)
                return
            try:
                self._thread.submit(self._beside, steps, answer, part)
            except RuntimeError:
                # stopped between two parts: the operation ends as it would where the part failed
                self._step(steps, answer, lambda: steps.throw(LoopStoppedError(_STOPPING)))

    def _gather(self, steps: Steps, answer: Future[Tree | None], part: Together) -> None:
        """Put it to those that wait; the first of them has the go queued behind all that is queued now, if any is."""
        waiting = self._waiting.setdefault(part.act, [])
        waiting.append((steps, answer, part.item))
        if len(waiting) > 1:
            return
        if self._loop.has_more:
            self._queue(part.act)
        else:
            self._act(part.act)

    def _queue(self, act: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
        queued = self._loop.submit(lambda: self._act(act))
        if queued.done() and queued.exception() is not None:
            # the loop takes no more, and this is part of what it still finishes
            while act in self._waiting:
                self._go(act)

    def _act(self, act: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
        """One go; what is left has another, behind all that is queued by then."""
        if act in self._waiting:
            self._go(act)
        if act in self._waiting:
            self._queue(act)

    def _go(self, act: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
        waiting = self._waiting.pop(act)
        some = waiting[:MOST]
        try:
            results = act([item for _, _, item in some])
        except Exception as error:
            results = [error] * len(some)
        done, rest = waiting[: len(results)], waiting[len(results) :]
        if rest:
            self._waiting[act] = rest
        for (steps, answer, _), result in zip(done, results, strict=True):
            self._step(steps, answer, _resumption(steps, result))

    def _beside(self, steps: Steps, answer: Future[Tree | None], part: Part) -> None:
        try:
            if self._stopping:
                raise LoopStoppedError(_STOPPING)
            result = part()
        except BaseException as error:
            failure = error
            self._submit(lambda: self._step(steps, answer, lambda: steps.throw(failure)), answer)
        else:
            self._submit(lambda: self._step(steps, answer, lambda: steps.send(result)), answer)


def _resumption(steps: Steps, result: Any) -> Callable[[], Part | Together]:
    if isinstance(result, BaseException):
        return lambda: steps.throw(result)
    return lambda: steps.send(result)
