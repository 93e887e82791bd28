#!/usr/bin/env python3
"""Install what the licence authority returned (ACK, policy, trust and authorization codes); a line for each."""

import argparse
from base64 import b64encode
from http.client import HTTPException, HTTPSConnection
import json
import os
from pathlib import Path
import ssl
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from ncclient import NCClientError, manager
from ncclient.xml_ import to_ele

OPTIONS = {"hostkey_verify": False, "look_for_keys": False, "allow_agent": False, "timeout": 120}
SLPA = "urn:slp-agent:yang:slp-agent"
RPC = f'<import-code xmlns="{SLPA}"><content>%s</content></import-code>'


def netconf(target, user, password, _ca, content):
    login = {"host": (where := urlsplit(f"ssh://{target}")).hostname, "port": where.port or 830, "username": user}
    with manager.connect(**login, password=password, **OPTIONS) as device:
        reply = to_ele(str(device.dispatch(to_ele(RPC % escape(content)))))
    leaves = lambda entry: {leaf.tag.rpartition("}")[2]: leaf.text for leaf in entry}  # noqa: E731
    return leaves(reply) | {"document": [leaves(each) for each in reply.iter(f"{{{SLPA}}}document")]}


def restconf(target, user, password, ca, content):
    url, login = urlsplit(target), b64encode(f"{user}:{password}".encode()).decode()
    device = HTTPSConnection(url.hostname, url.port, context=ssl.create_default_context(cafile=ca), timeout=120)
    headers = {"Authorization": f"Basic {login}", "Content-Type": "application/yang-data+json"}
    body, path = json.dumps({"slp-agent:input": {"content": content}}), f"{url.path}/operations/slp-agent:import-code"
    device.request("POST", path, body, headers)
    reply = device.getresponse()
    if reply.status != 200:
        raise OSError(reply.status, reply.read().decode())
    return json.load(reply)["slp-agent:output"]


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("target", help="HOST:PORT for NETCONF, or https://HOST:PORT/restconf")
parser.add_argument("file", type=Path, help="the file that the authority returned")
parser.add_argument("--user", required=True, help="of the group collector; the password is read from SLP_PASSWORD")
parser.add_argument("--ca", help="RESTCONF: the agent's CA file")
args = parser.parse_args()
install = restconf if args.target.startswith("https:") else netconf
try:
    answer = install(args.target, args.user, os.environ["SLP_PASSWORD"], args.ca, args.file.read_text("utf-8"))
except (OSError, ValueError, KeyError, HTTPException, NCClientError) as error:
    told = f"{getattr(error, 'tag', type(error).__name__)}: {error}"
    raise SystemExit(f"{args.file}: {told}{' unset' * isinstance(error, KeyError)}") from None
for document in answer.get("document", []):
    if document["return-code"] == "success" or len(answer["document"]) > 1:  # one refusal is that of the whole
        print(f"{document['type']}: {document['return-code']} {document.get('message') or ''}".rstrip())
if answer.get("confirmation-codes"):
    print(f"confirmation codes: {answer['confirmation-codes']}")
if answer["return-code"] != "success":
    raise SystemExit(f"{args.file}: {answer['return-code']}: {answer['message']}")
