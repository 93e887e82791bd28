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


def netconf(target, user, password, _ca, batch=200):
    login = {"host": (where := urlsplit(f"ssh://{target}")).hostname, "port": where.port or 830, "username": user}
    options = {"hostkey_verify": False, "look_for_keys": False, "allow_agent": False, "timeout": 120}
    with manager.connect(**login, password=password, **options) as device:
        get = lambda what: device.get(("subtree", STATE % (what, "</licensing>"))).data_ele  # noqa: E731
        keys = [key.text for key in get("<rum-reports-closed-keys/>").iter("{*}rum-report-key")]
        for at in range(0, len(keys), batch):
            wanted = "".join(BODY % (escape(key), "</rum-reports-closed>") for key in keys[at : at + batch])
            for entry in get(wanted).iter("{*}rum-reports-closed"):
                yield entry.findtext("{*}rum-report-key"), entry.findtext("{*}document")


def restconf(target, user, password, ca):
    def get(path):
        device.request("GET", f"{url.path}/data/cisco-smart-license:licensing/state/state-info/{path}", headers=headers)
        body = (reply := device.getresponse()).read().decode()
        assert reply.status in (200, 404), f"{reply.status} {body}"
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
args, number = parser.parse_args(), 0
sys.excepthook = lambda kind, error, _: sys.stderr.write(f"{kind.__name__}: {error} (needs SLP_PASSWORD or --ca?)\n")
args.directory.mkdir(parents=True, exist_ok=True)
pull = restconf if args.target.startswith("https:") else netconf
for key, document in filter(all, pull(args.target, args.user, os.environ["SLP_PASSWORD"], args.ca)):
    file, number = args.directory / f"{key.rpartition(':')[2]}.json", number + 1
    file.write_text(document, encoding="utf-8", newline="")
    print(file)
number or print("0 reports; open ones are closed once a day, and by close-reports", file=sys.stderr)
