#!/usr/bin/env python3
"""Pull the RUM reports that are not acknowledged yet and keep each signed document, byte for byte, as DIR/<id>.json."""

import argparse
from base64 import b64encode
from http.client import HTTPSConnection
import json
import os
from pathlib import Path
import ssl
import sys
from urllib.parse import quote, urlsplit
from xml.sax.saxutils import escape

from ncclient import manager

STATE = '<licensing xmlns="http://cisco.com/ns/yang/cisco-smart-license"><state><state-info>%s</state-info></state>%s'
BODY = '<rum-reports-closed xmlns="urn:slp-agent:yang:slp-agent"><rum-report-key>%s</rum-report-key><document/>%s'
END = "reports being collected on the device now: %s (they are closed once a day, and by close-reports)\n"


def netconf(args, batch=200):
    login = {"host": (where := urlsplit(f"ssh://{args.target}")).hostname, "port": where.port or 830}
    options = {"hostkey_verify": False, "look_for_keys": False, "allow_agent": False, "timeout": 120}
    with manager.connect(**login, username=args.user, password=os.environ["SLP_PASSWORD"], **options) as device:
        get = lambda what, name: device.get(("subtree", STATE % (what, "</licensing>"))).data_ele.iter(name)  # noqa: E731
        keys = [key.text for key in get("<rum-reports-closed-keys/>", "{*}rum-report-key")]
        for at in range(0, len(keys), batch):
            wanted = "".join(BODY % (escape(key), "</rum-reports-closed>") for key in keys[at : at + batch])
            for entry in get(wanted, "{*}rum-reports-closed"):
                yield entry.findtext("{*}rum-report-key"), entry.findtext("{*}document")
        sys.stderr.write(END % next(get('<report-counts xmlns="urn:slp-agent:yang:slp-agent"/>', "{*}collecting")).text)


def restconf(args):
    def get(path):
        device.request("GET", f"{url.path}/data/cisco-smart-license:licensing/state/state-info/{path}", headers=headers)
        body = (reply := device.getresponse()).read().decode()
        assert reply.status in (200, 404), f"{reply.status} {body}"
        return "" if reply.status == 404 else next(iter(json.loads(body).values()))

    url, login = urlsplit(args.target), b64encode(f"{args.user}:{os.environ['SLP_PASSWORD']}".encode()).decode()
    device = HTTPSConnection(url.hostname, url.port, context=ssl.create_default_context(cafile=args.ca), timeout=120)
    headers = {"Authorization": f"Basic {login}", "Accept": "application/yang-data+json"}
    for key in [entry["rum-report-key"] for entry in get("rum-reports-closed-keys")]:
        yield key, get(f"slp-agent:rum-reports-closed={quote(key, safe='')}/document")
    sys.stderr.write(END % get("slp-agent:report-counts/collecting"))


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("target", help="HOST:PORT for NETCONF, or https://HOST:PORT/restconf")
parser.add_argument("directory", type=Path)
parser.add_argument("--user", required=True, help="of the group collector; the password is read from SLP_PASSWORD")
parser.add_argument("--ca", help="RESTCONF: the agent's CA file")
args = parser.parse_args()
sys.excepthook = lambda kind, error, _: sys.stderr.write(f"{kind.__name__}: {error}{' unset' * (kind is KeyError)}\n")
args.directory.mkdir(parents=True, exist_ok=True)
for key, document in filter(all, (restconf if args.target.startswith("https:") else netconf)(args)):
    (file := args.directory / f"{key.rpartition(':')[2]}.json").write_text(document, encoding="utf-8", newline="")
    print(file)
