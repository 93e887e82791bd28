"""Locks and the ends of sessions, over real SSH (RFC 6241 sections 7.5 to 7.9)."""

from __future__ import annotations

from tests.netconf.support import NC, Server, error, is_ok, until
from tests.toy.build import Toy

RUNNING = "<target><running/></target>"
LOCK = f"<lock>{RUNNING}</lock>"
UNLOCK = f"<unlock>{RUNNING}</unlock>"
EDIT = f"<edit-config>{RUNNING}<config><box xmlns='urn:example:toy'><name>a</name></box></config></edit-config>"


def kill(session_id: int) -> str:
    return f"<kill-session><session-id>{session_id}</session-id></kill-session>"


def test_lock(server: Server) -> None:
    """Checklist 102: the second is told who holds it; by an entity that is no NETCONF session too."""
    with server.client() as first, server.client() as second:
        assert is_ok(first.rpc(LOCK))
        told = error(second.rpc(LOCK))
        assert (told["tag"], told["info"]) == ("lock-denied", {"session-id": str(first.session_id)})
        assert error(first.rpc(LOCK))["tag"] == "lock-denied"
        assert is_ok(first.rpc(UNLOCK))
        assert is_ok(second.rpc(LOCK))


def test_what_a_lock_forbids(server: Server, toy: Toy) -> None:
    """Checklist 104."""
    with server.client() as holder, server.client() as other:
        assert error(other.rpc(UNLOCK))["tag"] in ("operation-failed", "lock-denied")
        assert is_ok(holder.rpc(LOCK))
        assert error(other.rpc(EDIT))["tag"] == "in-use"
        assert error(other.rpc(UNLOCK))["tag"] in ("operation-failed", "lock-denied")
        assert toy.dispatch.running.tree == {}
        assert is_ok(holder.rpc(EDIT))
        assert other.rpc("<get-config><source><running/></source></get-config>")[0].tag == f"{{{NC}}}data"
        assert is_ok(holder.rpc(UNLOCK))
        assert is_ok(other.rpc(EDIT))


def test_the_end_of_a_session_releases_its_lock(server: Server) -> None:
    """Checklist 105: by close-session, before the client sees the channel close; by a closed channel."""
    with server.client() as other:
        with server.client() as holder:
            assert is_ok(holder.rpc(LOCK))
            assert is_ok(holder.rpc("<close-session/>"))
            assert holder.closed()
            assert is_ok(other.rpc(LOCK))
            assert is_ok(other.rpc(UNLOCK))
        with server.client() as holder:
            assert is_ok(holder.rpc(LOCK))
            holder.channel.close()
            assert until(lambda: is_ok(other.rpc(LOCK)))


def test_kill_session(server: Server, toy: Toy) -> None:
    """Checklist 106: that session and only that ends, and its lock is free."""
    with server.client() as killer, server.client() as victim, server.client() as bystander:
        assert error(killer.rpc(kill(killer.session_id)))["tag"] == "invalid-value"
        assert error(killer.rpc(kill(4294967295)))["tag"] == "invalid-value"
        assert is_ok(victim.rpc(LOCK))
        assert is_ok(killer.rpc(kill(victim.session_id)))
        assert is_ok(killer.rpc(LOCK))
        assert victim.closed()
        assert error(killer.rpc(kill(victim.session_id)))["tag"] == "invalid-value"
        assert is_ok(bystander.rpc('<reset xmlns="urn:example:toy"/>'))
        assert {one.id for one in toy.dispatch.sessions.all()} == {killer.session_id, bystander.session_id}


def test_kill_session_before_the_hello(server: Server, toy: Toy) -> None:
    """Checklist 106: a session that has not said hello can be ended too."""
    with server.client() as killer, server.client(hello=None) as victim:
        victim.read_hello()
        assert is_ok(killer.rpc(kill(victim.session_id)))
        assert victim.closed()


def test_close_session(server: Server, toy: Toy) -> None:
    """Checklist 107: what was asked before is answered, then ok, then the channel closes; the rest is not run."""
    with server.client() as client:
        stream = b""
        for number, operation in enumerate((EDIT, "<get/>", "<close-session/>", '<reset xmlns="urn:example:toy"/>')):
            stream += client.frame(f'<rpc xmlns="{NC}" message-id="{number}">{operation}</rpc>'.encode())
        client.send(stream)
        assert is_ok(client.reply())
        assert client.reply()[0].tag == f"{{{NC}}}data"
        reply = client.reply()
        assert is_ok(reply)
        assert reply.get("message-id") == "2"
        assert client.closed()
    assert toy.calls == []
    assert toy.dispatch.sessions.all() == ()
