"""The same device by NETCONF and by RESTCONF, in XML and in JSON; the modules that it announces and hands out."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
import json
import re
from typing import Any

from lxml import etree
import pytest

from tests.system.kit import CSL, NC, SLPA, Device, documents

MONITORING = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"
CONFIG = f"""<config xmlns="{NC}"><licensing xmlns="{CSL}"><config>
  <custom-id>edge &amp; &lt;7&gt;</custom-id>
  <privacy><version>true</version></privacy>
  <utility><utility-enable>true</utility-enable><customer-info><city>Zürich</city></customer-info></utility>
  <usage><interval>7</interval><customer-tags><tag1>one</tag1></customer-tags></usage>
  <transport>
    <transport-type>transport-type-cslu</transport-type>
    <transport-cslu><url-cslu>http://192.0.2.7:8182/cslu/v1/pi?a=1&amp;b=2</url-cslu></transport-cslu>
  </transport>
  <boot-level xmlns="{SLPA}"><license>network-advantage</license></boot-level>
  <recorder xmlns="{SLPA}"><user>rob</user><license>*</license><license>voice-session</license></recorder>
</config></licensing></config>"""


@pytest.fixture(scope="module")
def busy(device: Device) -> Device:
    """Configured, in use, with reports closed and one of them read by a collector."""
    with device.ncclient() as session:
        session.edit_config(target="running", config=CONFIG)
    device.closed(voice_session=2, dna_advantage=1)
    with device.ncclient("collector") as session:
        documents(session)
    device.closed(voice_session=3)
    return device


def modules(capabilities: Any) -> dict[str, str]:
    """Module by namespace, as the hello says."""
    found = (re.match(r"([^?]+)\?(?:.*&)?module=([^&]+)", each) for each in capabilities)
    return {each[1]: each[2] for each in found if each}


Canonical = tuple[str, Any]


def of_xml(element: Any, names: Mapping[str, str]) -> Canonical:
    """Name with module, and either the text or the children without their order."""
    tag = etree.QName(element)
    name = f"{names[tag.namespace]}:{tag.localname}"
    if len(element):
        return name, sorted((of_xml(each, names) for each in element), key=repr)
    text = element.text or ""
    prefix, colon, local = text.partition(":")
    if colon and prefix in element.nsmap and element.nsmap[prefix] in names:
        text = f"{names[element.nsmap[prefix]]}:{local}"
    return name, text


def of_json(member: str, value: Any, parent: str) -> list[Canonical]:
    """The same of an RFC 7951 member; a list gives one for each entry."""
    module, _, local = member.rpartition(":")
    module = module or parent
    name = f"{module}:{local}"
    if isinstance(value, list) and value != [None]:
        return [each for entry in value for each in of_json(member, entry, parent)]
    if isinstance(value, dict):
        below = [each for child, part in value.items() for each in of_json(child, part, module)]
        # an empty container has no children in either form
        return [(name, sorted(below, key=repr) if below else "")]
    if value == [None]:
        return [(name, "")]
    return [(name, json.dumps(value) if isinstance(value, bool | int) else value)]


def identities(canonical: Canonical) -> Canonical:
    """Identities of the module they stand in may be written without its name: here all are."""
    name, value = canonical
    if isinstance(value, list):
        return name, sorted((identities(each) for each in value), key=repr)
    return name, value.removeprefix(name.partition(":")[0] + ":")


def test_one_datastore(busy: Device) -> None:
    """Checklist 44, 166, 167: NETCONF's get, RESTCONF's XML and RESTCONF's JSON say the same of all of licensing."""
    with busy.ncclient("reader") as session, busy.http("reader") as caller:
        names = modules(session.server_capabilities)
        wanted = f'<licensing xmlns="{CSL}"/>'
        by_netconf = session.get(("subtree", wanted)).data_ele[0]
        status, body = caller.request("GET", "/data/cisco-smart-license:licensing", Accept="application/yang-data+xml")
        assert status == 200
        by_xml = etree.fromstring(body)
        status, body = caller.request("GET", "/data/cisco-smart-license:licensing", Accept="application/yang-data+json")
        assert status == 200
        ((member, value),) = json.loads(body).items()
        config = session.get_config("running", filter=("subtree", wanted)).data_ele[0]
    expected = identities(of_xml(by_netconf, names))
    assert identities(of_xml(by_xml, names)) == expected
    (by_json,) = of_json(member, value, "")
    assert identities(by_json) == expected
    # the configuration in it is what get-config gives, and what was sent
    (part,) = [each for each in expected[1] if each[0] == "cisco-smart-license:config"]
    assert identities(of_xml(config, names))[1] == [part]
    text = repr(part)
    for sent in ("edge & <7>", "Zürich", "?a=1&b=2", "network-advantage", "rob"):
        assert sent in text
    reports = [each for each in flat(expected) if each[0] == "slp-agent:document"]
    assert len(reports) >= 3
    states = {each[1] for each in flat(expected) if each[0] == "slp-agent:report-state"}
    assert len(states) == 2


def flat(canonical: Canonical) -> list[Canonical]:
    _, value = canonical
    return [canonical, *(found for each in value for found in flat(each))] if isinstance(value, list) else [canonical]


def test_hello(device: Device) -> None:
    """Checklist 2: what is offered is announced, what is not is not; each module with its revision."""
    with device.ncclient("reader") as session:
        announced = set(session.server_capabilities)
    plain = {each.removeprefix("urn:ietf:params:netconf:") for each in announced if "?" not in each}
    assert {"base:1.0", "base:1.1", "capability:writable-running:1.0", "capability:rollback-on-error:1.0"} <= plain
    assert {"capability:candidate:1.0", "capability:confirmed-commit:1.1", "capability:validate:1.1"} <= plain
    assert {"capability:xpath:1.0", "capability:notification:1.0", "capability:interleave:1.0"} <= plain
    assert any(":with-defaults:1.0?basic-mode=explicit&" in each for each in announced)
    assert not [each for each in plain if "capability:startup:" in each]
    schema = json.loads((resources.files("bindings") / "schema.json").read_text())
    for module in schema["modules"]:
        name = module["name"]
        there = [each for each in announced if f"module={name}&" in each or each.endswith(f"module={name}")]
        if not module["implemented"]:
            assert there == [], name
        else:
            assert len(there) == 1, name
            assert there[0].startswith(f"{module['namespace']}?")
            assert f"revision={module['revision']}" in there[0]


def test_get_schema(device: Device) -> None:
    """Checklist 118: every module and submodule that is listed comes as its file is, and every file is listed."""
    folder = resources.files("bindings") / "yang"
    wanted = f'<netconf-state xmlns="{MONITORING}"><schemas/></netconf-state>'
    with device.ncclient("reader") as session:
        listed = session.get(("subtree", wanted)).data_ele
        seen = set()
        for entry in listed.iter(f"{{{MONITORING}}}schema"):
            name, version = (entry.findtext(f"{{{MONITORING}}}{leaf}") for leaf in ("identifier", "version"))
            file = folder / f"{name}@{version}.yang"
            assert session.get_schema(name, version).data == file.read_text(), name
            # the bare name of the format, as ncclient writes it
            assert session.get_schema(name, version, "yang").data == file.read_text(), name
            seen.add(file.name)
    assert seen == {each.name for each in folder.iterdir()}
