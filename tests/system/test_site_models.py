"""`slp-agent run --yang`: a site's own modules beside the agent's (issue: the site's own models)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import shutil
import socket
from typing import Any

from lxml import etree
from ncclient.operations import RPCError
from ncclient.xml_ import to_ele
import pytest

from agent.restconf.listen import bind_tcp
from tests.system.kit import CSL, NC, SLPA, Device

SITE = Path(__file__).resolve().parents[1] / "site"
SV = "urn:example:site-vlan"
BASE = "urn:ietf:params:xml:ns:yang:ietf-netconf-notifications"
GIVEN = ("--yang", str(SITE / "site-vlan.yang"), "--yang-path", str(SITE / "folder"))
VLANS = f"""<config xmlns="{NC}"><vlans xmlns="{SV}">
  <vlan><id>7</id><name>guests</name></vlan>
  <vlan><id>8</id><name>phones</name><mtu>9000</mtu></vlan>
  <default-vlan>8</default-vlan>
  <trunk><port>b</port></trunk><trunk><port>a</port></trunk>
</vlans></config>"""
NOTES = f"""<config xmlns="{NC}"><licensing xmlns="{CSL}">
  <config><custom-id>edge</custom-id><cost-centre xmlns="{SV}">4711</cost-centre></config>
  <site xmlns="{SV}"><owner>Ada</owner></site>
</licensing></config>"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    """An agent that runs with the site's module."""
    made = Device.make(tmp_path_factory.mktemp("site") / "d", run=GIVEN)
    made.start()
    yield made
    made.stop()
    assert "Traceback" not in made.log.read_text(), made.log.read_text()


def refused(device: Device, config: str) -> RPCError:
    with device.ncclient() as session, pytest.raises(RPCError) as caught:
        session.edit_config(target="running", config=f'<config xmlns="{NC}">{config}</config>')
    return caught.value


def test_announced_and_listed(site: Device) -> None:
    """Its name, revision and features are in the hello; it and its imports are in the library; texts are served."""
    with site.ncclient() as session:
        assert f"{SV}?module=site-vlan&revision=2026-01-05&features=trunks" in set(session.server_capabilities)
        for name in ("site-vlan", "site-types"):
            text = session.get_schema(name).data
            assert text == (next(SITE.rglob(f"{name}.yang"))).read_text()
    with site.http() as http:
        (modules,) = http.get("/data/ietf-yang-library:yang-library")["module-set"]
    assert "site-vlan" in {one["name"] for one in modules["module"]}
    assert "site-types" in {one["name"] for one in modules["import-only-module"]}


def test_configuration_is_validated_stored_and_served(site: Device) -> None:
    """By NETCONF and RESTCONF, in the order of the user, with defaults on request; it outlives the process."""
    with site.ncclient() as session:
        session.edit_config(target="running", config=VLANS)
        session.edit_config(target="running", config=NOTES)
    for _ in range(2):
        with site.http() as http:
            vlans = http.get("/data/site-vlan:vlans")
            licensing = http.get("/data/cisco-smart-license:licensing")
        assert vlans == {
            "vlan": [{"id": 7, "name": "guests"}, {"id": 8, "name": "phones", "mtu": 9000}],
            "default-vlan": 8,
            "trunk": [{"port": "b"}, {"port": "a"}],
        }
        assert licensing["config"] == {"custom-id": "edge", "site-vlan:cost-centre": "4711"}
        assert licensing["site-vlan:site"] == {"owner": "Ada"}
        with site.ncclient() as session:
            path = {"sv": SV}, "/sv:vlans/sv:vlan[sv:name='guests']/sv:mtu"
            mtu = session.get_config("running", filter=("xpath", path))
            told = session.get_config("running", ("subtree", f'<vlans xmlns="{SV}"/>'), with_defaults="report-all")
        assert mtu.data_ele.find(f".//{{{SV}}}mtu") is None
        assert [one.text for one in told.data_ele.iter(f"{{{SV}}}mtu")] == ["1500", "9000"]
        site.stop()
        site.start()
    assert refused(site, f'<vlans xmlns="{SV}"><vlan><id>4095</id><name>x</name></vlan></vlans>').tag == "invalid-value"
    assert refused(site, f'<vlans xmlns="{SV}"><vlan><id>9</id></vlan></vlans>').tag == "data-missing"
    lost = refused(site, f'<vlans xmlns="{SV}"><default-vlan>10</default-vlan></vlans>')
    # neither the VLAN that it names nor its mtu is there: one error, whose message names the other fault too
    assert lost.tag == "data-missing"
    assert "also at /site-vlan:vlans/default-vlan: the default VLAN carries IPv6" in lost.message
    small = f'<vlans xmlns="{SV}"><vlan><id>8</id><mtu>1000</mtu></vlan></vlans>'
    assert refused(site, small).message == "the default VLAN carries IPv6"
    assert refused(site, f'<vlans xmlns="{SV}"><vlan><id>9</id><name>guests</name></vlan></vlans>').app_tag == (
        "data-not-unique"
    )


def test_notes_on_the_server_settings(site: Device) -> None:
    """Augments of netconf-server, in a container and in a list: kept, while the settings beside them have effect."""
    with bind_tcp("127.0.0.1", 0) as chosen:
        port = chosen.getsockname()[1]
    where = f"<transport>ssh</transport><address>127.0.0.1</address><port>{port}</port><vlan xmlns='{SV}'>7</vlan>"
    limits = f"<limits><sessions>50</sessions><agreed-with xmlns='{SV}'>Ada</agreed-with></limits>"
    server = f"<listen><endpoint><name>b</name>{where}</endpoint></listen>{limits}"
    with site.ncclient() as session:
        config = f"<config xmlns='{NC}'><netconf-server xmlns='{SLPA}'>{server}</netconf-server></config>"
        session.edit_config(target="running", config=config)
    with socket.create_connection(("127.0.0.1", port), 10) as opened:
        assert opened.recv(8) == b"SSH-2.0-"
    with site.http() as http:
        told = http.get("/data/slp-agent:netconf-server")
    assert told["limits"] == {"sessions": 50, "site-vlan:agreed-with": "Ada"}
    assert told["listen"]["endpoint"][0]["site-vlan:vlan"] == 7
    gone = f"<netconf-server xmlns='{SLPA}' xmlns:nc='{NC}' nc:operation='delete'/>"
    with site.ncclient() as session:
        session.edit_config(target="running", config=f"<config xmlns='{NC}'>{gone}</config>")


def test_nobody_serves_its_state_and_operations(site: Device) -> None:
    """State is absent, its RPC and what it would do answer operation-not-supported."""
    with site.ncclient() as session:
        state = session.get(("subtree", f'<summary xmlns="{SV}"/>'))
        assert len(state.data_ele) == 0
        with pytest.raises(RPCError) as caught:
            session.dispatch(to_ele(f'<renumber xmlns="{SV}"><from>5</from></renumber>'))
        assert caught.value.tag == "operation-not-supported"


def test_nobody_serves_its_actions(site: Device) -> None:
    """By NETCONF and RESTCONF; a key that is missing or of a wrong type is told before."""
    frame = '<action xmlns="urn:ietf:params:xml:ns:yang:1"><vlans xmlns="{}"><vlan>{}<clear/></vlan></vlans></action>'
    tags = []
    with site.ncclient() as session:
        for key in ("<id>7</id>", "<id>5000</id>", ""):
            with pytest.raises(RPCError) as caught:
                session.dispatch(to_ele(frame.format(SV, key)))
            tags.append(caught.value.tag)
    assert tags == ["operation-not-supported", "invalid-value", "missing-element"]
    with site.http() as http:
        status, told = http.post("/data/site-vlan:vlans/vlan=7/clear")
        elsewhere, _ = http.post("/data/cisco-smart-license:licensing/site-vlan:audit")
    assert elsewhere == 501
    assert (status, told["ietf-restconf:errors"]["error"][0]["error-tag"]) == (501, "operation-not-supported")


def test_changes_of_its_configuration_are_told(site: Device) -> None:
    """Checklist 115: netconf-config-change names them by the site's namespace, also in the agent's models."""
    with site.ncclient() as session:
        site_only = f'<vlans xmlns="{SV}" nc:operation="remove" xmlns:nc="{NC}"/>'
        session.edit_config(target="running", config=f'<config xmlns="{NC}">{site_only}</config>')
        assert session.create_subscription(filter=("subtree", f'<netconf-config-change xmlns="{BASE}"/>')).ok
        session.edit_config(target="running", config=VLANS)
        renamed = f'<vlans xmlns="{SV}"><vlan><id>7</id><name>visitors</name></vlan></vlans>'
        session.edit_config(target="running", config=f'<config xmlns="{NC}">{renamed}</config>')
        owner = f'<licensing xmlns="{CSL}"><site xmlns="{SV}"><owner>Bob</owner></site></licensing>'
        session.edit_config(target="running", config=f'<config xmlns="{NC}">{owner}</config>')
        vlans = ["vlan[{}id='7']", "vlan[{}id='8']", "default-vlan", "trunk[{}port='b']", "trunk[{}port='a']"]
        assert edits(session) == [("create", f"/{{}}vlans/{{}}{one}") for one in vlans]
        assert edits(session) == [("replace", "/{}vlans/{}vlan[{}id='7']/{}name")]
        ((operation, target),) = edits(session)
        assert operation in ("create", "replace")
        assert target.endswith(":licensing/{}site/{}owner")


def edits(session: Any) -> list[tuple[str | None, str]]:
    """Operation and target of each edit that the next notification tells of; {} for the site's prefix."""
    taken = session.take_notification(timeout=20)
    assert taken is not None
    change = etree.fromstring(taken.notification_xml.encode())
    found = []
    for edit in change.iter(f"{{{BASE}}}edit"):
        target = edit.find(f"{{{BASE}}}target")
        assert target is not None
        (prefix,) = [prefix for prefix, space in target.nsmap.items() if space == SV]
        found.append((edit.findtext(f"{{{BASE}}}operation"), (target.text or "").replace(f"{prefix}:", "{}")))
    return found


def starts(device: Device, *options: str) -> str:
    """What a start says that does not come about."""
    done = device.tool("run", "--netconf", "127.0.0.1:0", "--restconf", "127.0.0.1:0", *options)
    assert (done.code, done.out) == (1, "")
    return done.err


def test_models_that_are_gone_stop_the_start(site: Device) -> None:
    """While configuration of them is stored; the message says what to do, and doing it helps."""
    with site.ncclient() as session:
        session.edit_config(target="running", config=VLANS)
    site.stop()
    told = starts(site)
    assert "site-vlan" in told
    assert "--yang FILE" in told
    site.start()
    with site.ncclient() as session:
        gone = f'<vlans xmlns="{SV}" nc:operation="remove" xmlns:nc="{NC}"/>'
        licensing = f"""<licensing xmlns="{CSL}" xmlns:nc="{NC}"><site xmlns="{SV}" nc:operation="remove"/>
          <config><cost-centre xmlns="{SV}" nc:operation="remove"/></config></licensing>"""
        session.edit_config(target="running", config=f'<config xmlns="{NC}">{gone}{licensing}</config>')
    site.stop()
    site.options = ()
    site.start()
    site.stop()
    site.options = GIVEN
    site.start()


def test_a_module_that_is_only_augmented_is_served_too(tmp_path: Path) -> None:
    """RFC 7950 section 5.6.5: what is stored for it stays in sight. Where it is only deviated the start is refused."""
    vlans = tmp_path / "vlans.yang"
    head = 'module {0} {{ yang-version 1.1; namespace "urn:example:{0}"; prefix p; '
    body = "container vlans { list vlan { key id; leaf id { type uint16; } leaf name { type string; } } }"
    vlans.write_text(f"{head.format('vlans')} feature f; leaf on {{ if-feature f; type empty; }} {body} }}")
    added = tmp_path / "aug.yang"
    uses = "import vlans { prefix v; }"
    added.write_text(f'{head.format("aug")} {uses} augment "/v:vlans/v:vlan" {{ leaf colour {{ type string; }} }} }}')
    changed = tmp_path / "dev.yang"
    changed.write_text(
        f'{head.format("dev")} {uses} deviation "/v:vlans/v:vlan/v:name" {{ deviate add {{ default x; }} }} }}'
    )
    device = Device.make(tmp_path / "d")
    stored = '<on xmlns="urn:example:vlans"/><vlans xmlns="urn:example:vlans"><vlan><id>7</id>{}</vlan></vlans>'
    colour = '<colour xmlns="urn:example:aug">red</colour>'
    with device.running("--yang", str(vlans)), device.ncclient() as session:
        session.edit_config(target="running", config=f'<config xmlns="{NC}">{stored.format("")}</config>')
    folder = ("--yang-path", str(tmp_path))
    told = starts(device, "--yang", str(changed), *folder)
    assert "data of vlans" in told
    assert "--yang FILE" in told
    with device.running("--yang", str(added), *folder):
        with device.ncclient() as session:
            session.edit_config(target="running", config=f'<config xmlns="{NC}">{stored.format(colour)}</config>')
            assert "urn:example:vlans?module=vlans&features=f" in set(session.server_capabilities)
        with device.http() as http:
            assert http.get("/data/vlans:vlans") == {"vlan": [{"id": 7, "aug:colour": "red"}]}
            assert http.get("/data/vlans:on") == [None]


def test_bad_modules_stop_the_start(tmp_path: Path) -> None:
    """With what pyang says of them: the file, the line, the reason. Nothing of the state folder has changed."""
    device = Device.make(tmp_path / "d")
    bad = tmp_path / "bad.yang"
    bad.write_text('module bad {\n namespace "urn:bad"; prefix b;\n leaf x { type strin; }\n}\n')
    told = starts(device, "--yang", str(bad))
    assert "bad.yang:3" in told
    assert "strin" in told
    assert "site-types" in starts(device, "--yang", str(SITE / "site-vlan.yang"))
    assert "--yang FILE" in starts(device, "--yang-path", str(SITE))
    assert "no such" in starts(device, "--yang", str(tmp_path / "none.yang")).lower()
    own = tmp_path / "slp-agent.yang"
    own.write_text('module slp-agent { namespace "urn:x"; prefix x; }')
    assert "slp-agent" in starts(device, "--yang", str(own))
    header = 'yang-version 1.1; namespace "urn:m"; prefix m; import cisco-smart-license { prefix csl; }'
    module = tmp_path / "m.yang"
    module.write_text(f'module m {{ {header} deviation "/csl:licensing/csl:config" {{ deviate not-supported; }} }}')
    assert "deviation of cisco-smart-license" in starts(device, "--yang", str(module))
    module.write_text(
        f'module m {{ {header} augment "/csl:register-id-token/csl:input" {{ leaf x {{ type int8; }} }} }}'
    )
    assert "leave that augment out" in starts(device, "--yang", str(module))
    with device.running():
        device.show("status")


def test_compiled_once(tmp_path: Path) -> None:
    """The second start takes what the first has kept; another text, or what somebody else has written, is not taken."""
    folder = tmp_path / "yang"
    shutil.copytree(SITE, folder)
    device = Device.make(
        tmp_path / "d", run=("--yang", str(folder / "site-vlan.yang"), "--yang-path", str(folder / "folder"))
    )
    kept = device.folder / "models"

    def start() -> tuple[str, float]:
        with device.running():
            pass
        (one,) = kept.iterdir()
        return one.name, (one / "schema.json").stat().st_mtime_ns

    first = start()
    assert start() == first
    types = folder / "folder" / "site-types.yang"
    types.write_text(types.read_text().replace("4094", "100"))
    second = start()
    assert second[0] != first[0]
    (schema,) = kept.glob("*/schema.json")
    schema.write_text(schema.read_text().replace('"default-deny-all"', '"default-deny-none"'))
    third = start()
    assert (third[0], third[1] > second[1]) == (second[0], True)
    assert "was changed by somebody else" in device.log.read_text()
