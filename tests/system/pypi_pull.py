"""The whole pull by PyPI `netconf`, run by an interpreter of its own: HOST PORT USER PASSWORD; prints JSON by key."""

import json
import sys

from netconf.client import NetconfSSHSession

CSL = "http://cisco.com/ns/yang/cisco-smart-license"
SLPA = "urn:slp-agent:yang:slp-agent"
STATE = f'<licensing xmlns="{CSL}"><state><state-info>%s</state-info></state></licensing>'
BODY = f'<rum-reports-closed xmlns="{SLPA}"><rum-report-key>%s</rum-report-key><document/></rum-reports-closed>'

host, port, user, password = sys.argv[1:]
session = NetconfSSHSession(host, int(port), user, password)
reply = session.get(STATE % "<rum-reports-closed-keys><rum-report-key/></rum-reports-closed-keys>")
keys = [entry.text for entry in reply.iter(f"{{{CSL}}}rum-report-key")]
data = session.get(STATE % "".join(BODY % key for key in keys))
found = {
    body.findtext(f"{{{SLPA}}}rum-report-key"): body.findtext(f"{{{SLPA}}}document")
    for body in data.iter(f"{{{SLPA}}}rum-reports-closed")
}
config = session.get_config("running")
session.close()
print(
    json.dumps({"keys": keys, "documents": found, "config": config.tag, "capabilities": sorted(session.capabilities)})
)
