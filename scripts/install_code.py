#!/usr/bin/env python3
"""Install what the licence authority returned (an ACK, a policy, a trust code, or several in one file)."""

import argparse
import base64
import json
import os
from pathlib import Path
import ssl
import sys
from urllib.parse import urlsplit
import urllib.request
from xml.sax.saxutils import escape

from ncclient import manager
from ncclient.xml_ import to_ele

SLPA = "urn:slp-agent:yang:slp-agent"
RPC = f'<import-code xmlns="{SLPA}"><content>%s</content></import-code>'


def netconf(host, port, user, password, content):
    with manager.connect(host=host, port=port, username=user, password=password, hostkey_verify=False,
                         look_for_keys=False, allow_agent=False, timeout=120) as device:  # fmt: skip
        reply = to_ele(str(device.dispatch(to_ele(RPC % escape(content)))))
    text = lambda entry, name: entry.findtext(f"{{{SLPA}}}{name}")  # noqa: E731
    documents = [{name: text(entry, name) for name in ("type", "return-code", "message")}
                 for entry in reply.iter(f"{{{SLPA}}}document")]  # fmt: skip
    return {"return-code": text(reply, "return-code"), "document": documents}


def restconf(url, user, password, ca, content):
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    body = json.dumps({"slp-agent:input": {"content": content}}).encode()
    headers = {"Content-Type": "application/yang-data+json", "Authorization": f"Basic {login}"}
    request = urllib.request.Request(f"{url}/operations/slp-agent:import-code", data=body, headers=headers)
    with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=ca), timeout=120) as reply:
        return json.load(reply)["slp-agent:output"]


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("target", help="HOST:PORT for NETCONF, or https://HOST:PORT/restconf")
parser.add_argument("file", type=Path, help="the file that the authority returned")
parser.add_argument(
    "--user", required=True, help="a user of the group collector; the password is read from SLP_PASSWORD"
)
parser.add_argument("--ca", help="RESTCONF: the agent's CA file")
args = parser.parse_args()
password, content = os.environ["SLP_PASSWORD"], args.file.read_text(encoding="utf-8")
if args.target.startswith("https:"):
    answer = restconf(args.target, args.user, password, args.ca, content)
else:
    where = urlsplit(f"ssh://{args.target}")
    answer = netconf(where.hostname, where.port or 830, args.user, password, content)
for document in answer.get("document", []):
    print(f"{document['type']}: {document['return-code']} {document.get('message') or ''}".rstrip())
sys.exit(0 if answer["return-code"] == "success" else f"{args.file}: {answer['return-code']}")
