#!/usr/bin/env python3
"""Pull the RUM reports that are not acknowledged yet and keep each signed document, byte for byte, as DIR/<id>.json."""

import argparse
from base64 import b64encode
from http.client import HTTPSConnection
import json
import os
from pathlib import Path
import ssl
from urllib.parse import quote, urlsplit
from xml.sax.saxutils import escape

from ncclient import manager

CSL, SLPA = "http://cisco.com/ns/yang/cisco-smart-license", "urn:slp-agent:yang:slp-agent"
STATE = f'<licensing xmlns="{CSL}"><state><state-info>%s</state-info></state></licensing>'
KEYS = "<rum-reports-closed-keys><rum-report-key/></rum-reports-closed-keys>"
BODY = f'<rum-reports-closed xmlns="{SLPA}"><rum-report-key>%s</rum-report-key><document/></rum-reports-closed>'


def netconf(target, user, password, _ca, batch=200):
    where = urlsplit(f"ssh://{target}")
    login = {"host": where.hostname, "port": where.port or 830, "username": user, "password": password}
    with manager.connect(**login, hostkey_verify=False, look_for_keys=False, allow_agent=False, timeout=120) as device:
        keys = [key.text for key in device.get(("subtree", STATE % KEYS)).data_ele.iter(f"{{{CSL}}}rum-report-key")]
        for at in range(0, len(keys), batch):
            bodies = "".join(BODY % escape(key) for key in keys[at : at + batch])
            for entry in device.get(("subtree", STATE % bodies)).data_ele.iter(f"{{{SLPA}}}rum-reports-closed"):
                yield entry.findtext(f"{{{SLPA}}}rum-report-key"), entry.findtext(f"{{{SLPA}}}document")


def restconf(target, user, password, ca):
    def get(path):
        device.request("GET", f"{url.path}/data/cisco-smart-license:licensing/state/state-info/{path}", headers=headers)
        reply = device.getresponse()
        body = reply.read().decode()
        if reply.status not in (200, 404):
            raise SystemExit(f"{path}: {reply.status} {body}")
        return "" if reply.status == 404 else next(iter(json.loads(body).values()))

    url, login = urlsplit(target), b64encode(f"{user}:{password}".encode()).decode()
    device = HTTPSConnection(url.hostname, url.port, context=ssl.create_default_context(cafile=ca), timeout=120)
    headers = {"Authorization": f"Basic {login}", "Accept": "application/yang-data+json"}
    for key in [entry["rum-report-key"] for entry in get("rum-reports-closed-keys")]:
        yield key, get(f"slp-agent:rum-reports-closed={quote(key, safe='')}/document")


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("target", help="HOST:PORT for NETCONF, or https://HOST:PORT/restconf")
parser.add_argument("directory", type=Path)
parser.add_argument("--user", required=True, help="of the group collector; the password is read from SLP_PASSWORD")
parser.add_argument("--ca", help="RESTCONF: the agent's CA file")
args = parser.parse_args()
pull = restconf if args.target.startswith("https:") else netconf
args.directory.mkdir(parents=True, exist_ok=True)
for key, document in filter(all, pull(args.target, args.user, os.environ["SLP_PASSWORD"], args.ca)):
    file = args.directory / f"{key.rpartition(':')[2]}.json"
    file.write_text(document, encoding="utf-8", newline="")
    print(file)
