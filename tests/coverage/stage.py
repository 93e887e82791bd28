"""An agent behind its real front ends, as clients see it: NETCONF over SSH, RESTCONF over HTTP; the clock set by hand.

Calls go by NETCONF and RESTCONF in turn. Every reply, and every notification in both encodings, is validated by libyang
and against the published facts before it counts as seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from http.client import HTTPConnection
import json
from pathlib import Path
import socket
from typing import Any

from lxml import etree
import paramiko

from agent.codec import json as json_codec
from agent.codec import xml as xml_codec
from agent.core.hub import Event
from agent.core.schema import Node
from agent.core.sessions import User
from agent.core.tree import Tree
from agent.netconf.serving import Serving
from agent.netconf.thread import LoopThread
from agent.restconf.listen import Local, bind_tcp
from agent.restconf.server import Server
from agent.ssh.keys import new_host_key
from agent.ssh.server import SshServer
from tests.coverage import published
from tests.coverage.libyang import OURS, Libyang
from tests.coverage.seen import Seen
from tests.netconf.support import HELLO_11, NC, WAIT, Client, is_ok, until
from tests.transport.rig import ADMIN, COLLECTOR, LICENSING, READER, RECORDER, Rig

USERS = {user.name: user for user in (ADMIN, COLLECTOR, READER, RECORDER)}
CSL = "http://cisco.com/ns/yang/cisco-smart-license"
JSON = "application/yang-data+json"
HOST_KEY = new_host_key()


class Unpublished(AssertionError):  # noqa: N818 - it is a finding, not a fault of the caller
    """A reply breaks the published facts."""


class Accounts:
    """Everyone's password is the own name."""

    def password(self, user: str, password: str) -> User | None:
        return self.user(user) if user == password else None

    def public_keys(self, user: str) -> Sequence[str]:
        return ()

    def user(self, name: str) -> User | None:
        return USERS.get(name)

    def epoch(self) -> int:
        return 1


class UnixHttp(HTTPConnection):
    """HTTP over a local socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


class Stage(Rig):
    """A rig with front ends; what its clients receive is added to `seen`."""

    def __init__(self, path: Path, seen: Seen, checker: Libyang, **options: Any) -> None:
        self.seen = seen
        self.checker = checker
        self._calls = 0
        self._caller = READER
        self._heard = 0
        self._clients: dict[str, Client] = {}
        self._http: dict[str, UnixHttp] = {}
        super().__init__(path, **options)

    # Lives

    def begin(self) -> None:
        super().begin()
        self._thread = LoopThread()
        self._thread.start()
        self._ssh = SshServer(Serving(self.dispatch, announce=self.agent.announced), Accounts(), [HOST_KEY])
        bound = bind_tcp("127.0.0.1", 0)
        self._address = bound.getsockname()
        self._thread.call(self._ssh.listen(bound))
        self._server = Server(self.dispatch, Accounts(), local=Local(self.path / "http", lambda _: self._caller))
        self._server.start()
        # what the start told went out before anyone was connected; a subscriber of the hub heard it
        self._hear()

    def close(self) -> None:
        """Take the front ends away; the agent goes on."""
        self._hear()
        for connection in self._http.values():
            connection.close()
        for client in self._clients.values():
            client.connection.close()
        self._http.clear()
        self._clients.clear()
        self._server.stop()
        self._thread.call(self._ssh.stop())
        self._thread.end()

    def end(self) -> None:
        self.close()
        super().end()
        self._hear()

    def crash(self, after: float) -> None:
        """Go without recording the stop, and begin anew later."""
        self.close()
        self.dispatch.stop()
        self.store.close()
        self.clock.at += after
        self.begin()

    # Calls

    def invoke(self, name: str, given: Tree | None = None, user: User = ADMIN) -> Tree:
        """An RPC of one of our two modules, by NETCONF and by RESTCONF in turn; its output."""
        module = "slp-agent" if ("slp-agent", name) in self.dispatch.schema.rpcs else "cisco-smart-license"
        node = self.dispatch.schema.rpcs[module, name]
        given = given or {}
        self._calls += 1
        call, form = ((self._by_netconf, "xml"), (self._by_restconf, "json"))[self._calls % 2]
        sent = self._operation(json.dumps({node.member: {"input": given}}), "json") if given else {}
        output = self._operation(call(node, given, user), form)[node.member]["output"]
        self.seen.reply(node, sent[node.member]["input"] if sent else {}, output)
        self.seen.replies[f"RPC output, {form}"] += 1
        self._hear()
        return output

    def _by_netconf(self, node: Node, given: Tree, user: User) -> str:
        namespace = self.dispatch.schema.modules[node.module].namespace
        request = self._element(node.member, given, "")
        reply = self._client(user).rpc(etree.tostring(request).decode())
        wrapped = etree.Element(request.tag, nsmap={None: namespace})
        output = etree.SubElement(wrapped, f"{{{namespace}}}output")
        output.extend(list(reply))
        return etree.tostring(wrapped).decode()

    def _by_restconf(self, node: Node, given: Tree, user: User) -> str:
        body = json.dumps({f"{node.module}:input": given}) if given else None
        reply = self._request("POST", f"operations/{node.member}", user, body)
        ((name, output),) = json.loads(reply).items()
        return json.dumps({node.member: {name.partition(":")[2]: output}})

    def _client(self, user: User) -> Client:
        if user.name not in self._clients:
            transport = paramiko.Transport(socket.create_connection(self._address, WAIT))
            transport.connect(username=user.name, password=user.name)
            client = self._clients[user.name] = Client(transport)
            client.greet(HELLO_11)
        return self._clients[user.name]

    def _request(self, method: str, path: str, user: User, body: str | None = None) -> str:
        # a connection stands for the user that it was accepted for
        self._caller = user
        connection = self._http.setdefault(user.name, UnixHttp(self.path / "http"))
        headers = {"Accept": JSON} | ({"Content-Type": JSON} if body is not None else {})
        connection.request(method, f"/restconf/{path}", body, headers)
        reply = connection.getresponse()
        text = reply.read().decode()
        assert reply.status < 300, f"{method} {path}: {reply.status} {text}"
        return text

    def edit(self, config: Tree) -> None:
        """Merge `config` into /licensing/config, by NETCONF."""
        reply = self._edit(config, "merge")
        assert is_ok(reply), etree.tostring(reply).decode()

    def configure(self, config: Tree) -> bool:
        """Put `config` in the place of all of /licensing/config, by NETCONF; False where that is refused."""
        return is_ok(self._edit(config, "replace"))

    def serve(self, config: Tree) -> bool:
        """Put `config` in the place of all of /netconf-server, by NETCONF; False where that is refused."""
        server = self._element("slp-agent:netconf-server", config, "")
        server.set(f"{{{NC}}}operation", "replace")
        target = "<target><running/></target>"
        text = etree.tostring(server).decode()
        reply = self._client(ADMIN).rpc(f"<edit-config>{target}<config>{text}</config></edit-config>")
        self._hear()
        return is_ok(reply)

    def _edit(self, config: Tree, operation: str) -> Any:
        document = {LICENSING: {"config": config}}
        licensing = self._element(LICENSING, document[LICENSING], "")
        licensing[0].set(f"{{{NC}}}operation", operation)
        text = etree.tostring(licensing).decode()
        target = "<target><running/></target>"
        reply = self._client(ADMIN).rpc(f"<edit-config>{target}<config>{text}</config></edit-config>")
        self._hear()
        return reply

    def _element(self, member: str, value: Any, module: str) -> Any:
        """A JSON member as XML; `module` is its parent's."""
        prefix, _, name = member.rpartition(":")
        module = prefix or module
        namespace = self.dispatch.schema.modules[module].namespace
        names: dict[str | None, str] = {None: namespace}
        identity = value.partition(":")[0] if isinstance(value, str) else ""
        if identity in self.dispatch.schema.modules:
            names[identity] = self.dispatch.schema.modules[identity].namespace
        made = etree.Element(f"{{{namespace}}}{name}", nsmap=names)
        if isinstance(value, dict):
            for child, below in value.items():
                for each in below if isinstance(below, list) else [below]:
                    made.append(self._element(child, each, module))
        else:
            made.text = json.dumps(value) if isinstance(value, bool | int) else value
        return made

    def pull(self) -> None:
        """A collector reads all documents by NETCONF; they are marked when this returns."""
        space = self.dispatch.schema.modules["slp-agent"].namespace
        # smart-enabled is what the condition of state-info looks at
        wanted = f'<smart-enabled/><state-info><rum-reports-closed xmlns="{space}"/></state-info>'
        filter_ = f'<filter><licensing xmlns="{CSL}"><state>{wanted}</state></licensing></filter>'
        reply = self._client(COLLECTOR).rpc(f"<get>{filter_}</get>")
        if len(reply[0]):
            self._see(self.checker.data(_data(reply), "xml"), "get, xml", partial=True)
        assert until(lambda: self.state.counts.available == 0)

    # Looking

    def info(self) -> Tree:
        """state-info, as a reader gets it by NETCONF and by RESTCONF: both say the same."""
        filter_ = f'<filter><licensing xmlns="{CSL}"/></filter>'
        reply = self._client(READER).rpc(f"<get>{filter_}</get>")
        by_netconf = self._see(self.checker.data(_data(reply), "xml"), "get, xml")
        text = self._request("GET", f"data/{LICENSING}", READER)
        by_restconf = self._see(self.checker.data(text, "json"), "GET, json")
        assert by_netconf == by_restconf
        config = self._client(READER).rpc(f"<get-config><source><running/></source>{filter_}</get-config>")
        if len(config[0]):
            kept = self._see(self.checker.config(_data(config), "xml"), "get-config, xml", partial=True)
            assert kept[LICENSING].get("config") == by_netconf[LICENSING].get("config")
        return dict(by_netconf[LICENSING]["state"]["state-info"])

    look = info

    def server(self) -> Tree:
        """/netconf-server, as an administrator gets it by NETCONF and by RESTCONF: both say the same."""
        member = "slp-agent:netconf-server"
        node = self.dispatch.schema.root.by_member(member)
        assert node is not None
        space = self.dispatch.schema.modules["slp-agent"].namespace
        reply = self._client(ADMIN).rpc(f'<get><filter><netconf-server xmlns="{space}"/></filter></get>')
        tree = self._see(self.checker.config(_data(reply), "xml"), "get, xml", partial=True)
        text = self._request("GET", f"data/{member}", ADMIN)
        assert tree == self._see(self.checker.config(text, "json"), "GET, json", partial=True)
        self.seen.add(tree[member], node)
        return dict(tree[member])

    def _see(self, tree: Tree, what: str, partial: bool = False) -> Tree:
        self._check(tree)
        if not partial:  # what was filtered away is not an empty list
            self.seen.add(tree, self.dispatch.schema.root)
        self.seen.replies[what] += 1
        return tree

    def _operation(self, text: str, form: str) -> Tree:
        return self._check(self.checker.operation(text, form))

    def _check(self, tree: Tree) -> Tree:
        found = list(published.problems(tree))
        if found:
            raise Unpublished("\n".join(found))
        return tree

    def _hear(self) -> None:
        """Take in what was told since the last time, in both encodings."""
        for event in self.told[self._heard :]:
            if event.module in OURS:
                self._notified(event)
        self._heard = len(self.told)

    def _notified(self, event: Event) -> None:
        schema = self.dispatch.schema
        node = schema.notifications[event.module, event.name]
        text = b"".join(json_codec.encode_wrapped(event.tree, node)).decode()
        inner = b"".join(xml_codec.encode(event.tree, node)).decode()
        space = schema.modules[event.module].namespace
        tree = self._operation(text, "json")
        assert tree == self._operation(f'<{event.name} xmlns="{space}">{inner}</{event.name}>', "xml")
        self.seen.told.add(node.path)
        self.seen.add(tree.get(node.member, {}), node)
        self.seen.replies["notification, json and xml"] += 1


def _data(reply: Any) -> str:
    """What stands in <data>, or Unpublished where the reply is another."""
    (data,) = reply
    if data.tag != f"{{{NC}}}data":
        raise Unpublished(etree.tostring(reply).decode())
    return "".join(etree.tostring(each).decode() for each in data)
