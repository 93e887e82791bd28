"""The peer of scripts/bench: PyPI netconf 2.1.0 with the tree that the agent served, ready as its library wants it.

Runs in an environment of its own (netconf==2.1.0, paramiko<4). Arguments: file with the agent's rpc-reply, host key
file. User and password come from the environment; prints its port as one line, and serves until its input ends.
"""

import logging
import os
import sys

from lxml import etree
import netconf
from netconf import server, util

NC = "urn:ietf:params:xml:ns:netconf:base:1.0"
netconf.nsmap_update({
    "csl": "http://cisco.com/ns/yang/cisco-smart-license",
    "slpa": "urn:slp-agent:yang:slp-agent",
})  # fmt: skip


class Methods(server.NetconfMethods):
    """Only get: the library's own filter over a tree that is built already, the best case for it."""

    def __init__(self, data: etree._Element) -> None:
        self.data = data

    def nc_append_capabilities(self, capabilities: etree._Element) -> None:
        """Nothing beyond the base."""

    def rpc_get(
        self,
        session: object,  # noqa: ARG002 - the library's signature
        rpc: etree._Element,
        wanted: "etree._Element | None",
    ) -> etree._Element:
        return util.filter_results(rpc, self.data, wanted)


def main() -> None:
    # it logs each channel that closes as an error
    logging.disable(logging.CRITICAL)
    parser = etree.XMLParser(huge_tree=True)
    data = etree.parse(sys.argv[1], parser).getroot().find(f"{{{NC}}}data")
    controller = server.SSHUserPassController(os.environ["BENCH_USER"], os.environ["BENCH_PASSWORD"])
    serving = server.NetconfSSHServer(controller, Methods(data), port=0, host_key=sys.argv[2])
    print(serving.port, flush=True)
    sys.stdin.read()
    # its close() waits for threads that wait for clients
    os._exit(0)


main()
