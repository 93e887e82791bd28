#!/usr/bin/env python3
"""Pull the RUM reports that are not acknowledged yet and keep each signed document, byte for byte, as DIR/<id>.json."""

import argparse
import base64
import json
import os
from pathlib import Path
import ssl
from urllib.parse import quote, urlsplit
import urllib.request
from xml.sax.saxutils import escape

from ncclient import manager

CSL = "http://cisco.com/ns/yang/cisco-smart-license"
SLPA = "urn:slp-agent:yang:slp-agent"
STATE = f'<licensing xmlns="{CSL}"><state><state-info>%s</state-info></state></licensing>'
KEYS = "<rum-reports-closed-keys><rum-report-key/></rum-reports-closed-keys>"
BODY = (
    f'<rum-reports-closed xmlns="{SLPA}"><rum-report-key>%s</rum-report-key>'
    "<report-id/><document/></rum-reports-closed>"
)


def netconf(host, port, user, password, batch=200):
    with manager.connect(host=host, port=port, username=user, password=password, hostkey_verify=False,
                         look_for_keys=False, allow_agent=False, timeout=120) as device:  # fmt: skip
        reply = device.get(("subtree", STATE % KEYS)).data_ele
        keys = [entry.findtext(f"{{{CSL}}}rum-report-key") for entry in reply.iter(f"{{{CSL}}}rum-reports-closed-keys")]
        for at in range(0, len(keys), batch):
            bodies = "".join(BODY % escape(key) for key in keys[at : at + batch])
            for entry in device.get(("subtree", STATE % bodies)).data_ele.iter(f"{{{SLPA}}}rum-reports-closed"):
                yield entry.findtext(f"{{{SLPA}}}report-id"), entry.findtext(f"{{{SLPA}}}document")


def restconf(url, user, password, ca):
    state = f"{url}/data/cisco-smart-license:licensing/state/state-info"
    login = {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
    context = ssl.create_default_context(cafile=ca)

    def get(path):
        request = urllib.request.Request(state + path, headers=login | {"Accept": "application/yang-data+json"})
        with urllib.request.urlopen(request, context=context, timeout=120) as reply:
            return next(iter(json.load(reply).values()))

    for entry in get("/rum-reports-closed-keys"):
        yield (
            entry["report-id"],
            get(f"/slp-agent:rum-reports-closed={quote(entry['rum-report-key'], safe='')}/document"),
        )


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("target", help="HOST:PORT for NETCONF, or https://HOST:PORT/restconf")
parser.add_argument("directory", type=Path)
parser.add_argument(
    "--user", required=True, help="a user of the group collector; the password is read from SLP_PASSWORD"
)
parser.add_argument("--ca", help="RESTCONF: the agent's CA file")
args = parser.parse_args()
password = os.environ["SLP_PASSWORD"]
if args.target.startswith("https:"):
    reports = restconf(args.target, args.user, password, args.ca)
else:
    where = urlsplit(f"ssh://{args.target}")
    reports = netconf(where.hostname, where.port or 830, args.user, password)
args.directory.mkdir(parents=True, exist_ok=True)
for number, document in reports:
    (args.directory / f"{number}.json").write_text(document, encoding="utf-8", newline="")
    print(args.directory / f"{number}.json")
