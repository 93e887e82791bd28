"""What happens to the devices of the coverage run beside the recorded scenarios: whole lives, one function a part.

Each takes a stage; what its clients see is looked at where it differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from agent.core.tree import Tree
from agent.formats.documents import Account, Ack, PolicyClass, PolicyTerms, Refused
from tests.coverage.stage import Stage
from tests.licensing.kit import DAY, Authority
from tests.transport.rig import COLLECTOR, PROFILE, PURCHASES


def install(stage: Stage, *documents: object) -> None:
    content = stage.authority.file(*documents)  # type: ignore[arg-type]
    answer = stage.invoke("import-code", {"content": content.decode()})
    assert answer["return-code"] == "success", answer


def acknowledge(stage: Stage, account: Account) -> None:
    stage.invoke("rum-save-usage-all", {"file-path": "a"}, COLLECTOR)
    stage.look()
    entries = stage.part("slp-agent:rum-reports-closed")
    reports = [(int(entry["report-id"]), entry["digest"]) for entry in entries]
    content = stage.authority.ack(stage.device, *reports, account=account)
    assert stage.invoke("import-code", {"content": content.decode()})["return-code"] == "success"


def refuse(stage: Stage, reason: str, number: int) -> None:
    """The authority does not take the first reports."""
    entries = stage.part("slp-agent:rum-reports-closed")[:number]
    refused = tuple(Refused(int(entry["report-id"]), entry["digest"], reason) for entry in entries)
    install(stage, Ack(stage.authority.heading(stage.device), (), refused))


def first(stage: Stage) -> None:
    """From the box to the first acknowledgement, with a policy, a code and a setting of each kind."""
    stage.look()
    cslu = {
        "transport-type": "transport-type-cslu",
        "transport-cslu": {"url-cslu": f"http://{stage.profile.sn}.example"},
    }
    private = {"hostname": True, "version": True}
    stage.edit({"custom-id": f"id {stage.profile.sn}", "privacy": private, "transport": cslu})
    stage.use("advantage", 1)
    stage.use("sessions", 5)
    stage.invoke("id-token-trust", {"id-token": "T"})
    stage.look()
    stage.advance(1000)
    install(stage, stage.authority.trust_code(stage.device, factory=True))
    stage.look()
    stage.invoke("id-token-trust", {"id-token": "T"})
    stage.look()
    install(stage, stage.authority.trust_code(stage.device, years=4))
    stage.invoke("renew-id")
    stage.look()
    install(stage, stage.authority.code(stage.device, ("hseck9", 2), ("tier-2", 3), ends=stage.now + 20 * DAY))
    stage.use("hseck9", 1)
    stage.look()
    stage.advance(DAY)
    acknowledge(stage, Account(f"Account of {stage.profile.sn}", "V1"))
    stage.look()
    urls = {
        "url-registration": f"https://{stage.profile.sn}.example/r",
        "url-utility": f"https://{stage.profile.sn}.example/u",
    }
    stage.edit({"transport": {"transport-type": "transport-type-smart", "transport-smart": {"urls": urls}}})
    stage.advance(2 * DAY)
    acknowledge(stage, Account(f"Other account of {stage.profile.sn}", "V2"))
    stage.look()


def index(stage: Stage) -> int:
    """Which of the lives this is: values differ by it."""
    return int(stage.profile.sn[-1]) if stage.profile.sn else 0


def settings(stage: Stage) -> None:
    """Every leaf of the configuration, set and set otherwise; then none."""
    number = index(stage)
    names = ["advantage", "tier-2", "sessions"]
    for flag, count in ((True, 1), (False, 2)):
        tags = {f"tag{tag}": f"tag {number} {flag}" for tag in range(1, 5)}
        users = [{"user": user} for user in ("anna", "bert")[:count]]
        users[-1]["license"] = names[: count + number]  # type: ignore[assignment]
        config = {
            "enable": flag,
            "privacy": {"hostname": flag, "version": flag},
            "usage": {"customer-tags": tags},
            "transport": {"transport-type": "transport-type-smart", "transport-smart": {"url-default": flag}},
            "slp-agent:boot-level": {"license": names[:count]},
            "slp-agent:automatic-trust-request": flag,
            "slp-agent:operating-mode": "autonomous",
            "slp-agent:recorder": users,
            "slp-agent:event-log": {
                "max-entries": 5000 * count,
                "max-size": 10 * count,
                "max-age": 40 * count,
                "omit": ["slp-agent:outage-recorded", "slp-agent:clock-changed"][:count],
            },
        }
        assert stage.configure(config)
        stage.look()
    assert stage.configure({})


def serving(stage: Stage) -> None:
    """Every setting of the NETCONF server, set and set otherwise; then none. Nothing listens on this stage."""
    strategies = ("first-listed", "last-connected", "random-selection")
    for number, transport in enumerate(("ssh", "tls", "ssh"), 1):
        names = [f"{transport} {each}" for each in range(number)]
        fingerprint = f"04:{number:02x}" + ":00" * 31
        maps = [
            {"id": 10 * number + each, "fingerprint": fingerprint, "map-type": f"ietf-x509-cert-to-name:{kind}"}
            for each, kind in enumerate(("specified", "san-any", "common-name")[:number])
        ]
        maps[0]["name"] = f"user{number}"
        anchor = f"2026-11-{number:02d}T00:00:00+00:00"
        periodic = {"period": number, "anchor-time": anchor, "idle-timeout": number}
        strategy = {
            "start-with": strategies[number - 1],
            "max-wait": number,
            "max-attempts": number,
            "longest-delay": number,
        }
        hosts = [{"name": each, "address": f"host{number}.example", "port": 4000 + number} for each in names]
        ways: list[Tree] = [{"connection-type": "periodic", "periodic": periodic}, {"connection-type": "persistent"}]
        client: Tree = {"transport": transport, "endpoint": hosts, "reconnect-strategy": strategy}
        config: Tree = {
            "listen": {
                "endpoint": [
                    {"name": each, "transport": transport, "address": f"192.0.2.{number}", "port": 8000 + place}
                    for place, each in enumerate(names, number)
                ]
            },
            "limits": {
                "login-time": number,
                "hello-time": number,
                "idle-time": number,
                "sessions": 100 * number,
                "sessions-per-user": 50 * number,
                "message-size": 65536 * number,
            },
            "ssh": {
                "password-authentication": number == 1,
                "trusted-user-key": [{"name": each, "public-key": f"ssh-ed25519 {number}"} for each in names],
                "user": [{"name": each, "principal": ["a", "b"][:place]} for place, each in enumerate(names)],
            },
            "tls": {
                "trust-anchor": [{"name": each, "certificate": f"PEM {number}"} for each in names],
                "cert-maps": {"cert-to-name": maps},
            },
            "call-home": {"netconf-client": [{"name": each, **client, **ways[number == 1]} for each in names]},
        }
        assert stage.serve(config)
        stage.server()
    assert stage.serve({})


def unregistered(stage: Stage) -> None:
    """What needs a registration is refused before there is one; a first one is asked for in all ways."""
    number = index(stage)
    stage.invoke("de-register")
    stage.invoke("renew-id")
    stage.invoke("register-id-token", {"force": True})
    stage.invoke("register-id-token", {"id-token": f"first {number}"})
    stage.invoke("id-token-trust", {"id-token": f"second {number}", "all-ha": True, "force": True})
    stage.invoke("export-trust-request")
    stage.invoke("trust-request-save", {"file-path": f"flash:trust-{number}"})
    stage.invoke("trust-request-save", {"file-path": f"../trust-{number}"})


def registered(stage: Stage) -> None:
    """A trust code is there: it is not replaced without force, never given back, and not valid before its time."""
    install(stage, stage.authority.trust_code(stage.device, years=4))
    number = index(stage)
    stage.invoke("register-id-token", {"id-token": f"third {number}", "force": False})
    stage.invoke("de-register")
    stage.advance(1000)
    stage.clock.at -= 5000 + number
    stage.invoke("close-reports")
    stage.look()
    stage.advance(10_000)
    stage.look()


def files(stage: Stage) -> None:
    """Usage in files and inline, all and in parts; files that cannot be written or read."""
    number = index(stage)
    for licence in ("advantage", "sessions")[: 1 + number]:
        stage.use(licence, 7 + number)
    near = [f"PID:PHONE,SN:{phone}" for phone in range(1 + number)]
    for named in ({"added-peripheral": near}, {"removed-peripheral": near}):
        stage.invoke("record-usage", {"license": "advantage", "count": 7 + number, **named})
    # each save closes what is open, so that the next one holds more
    for name in ("rum-save-usage-all", "rum-save-usage-unreported", "rum-save-usage-days") * 2:
        stage.advance(100)
        stage.invoke(name, {"file-path": f"flash:{name}-{number}"})
        stage.invoke(name, {"file-path": f"../{number}"})
    stage.invoke("rum-save-usage-days", {"file-path": "days", "days": 30 + number})
    stage.invoke("rum-save-usage-days", {"file-path": "days", "days": 0})
    key = stage.part("rum-reports-closed-keys")[0]["rum-report-key"]
    for file in ("flash:one", "../one"):
        stage.invoke("rum-save-usage-report", {"file-path": file, "rum-report-key": key})
    wanted: tuple[Tree, ...] = (
        {"all": [None]},
        {"unreported": [None]},
        {"days": 20 + number},
        {"rum-report-key": key},
        {},
        {"days": 0},
    )
    for which in wanted:
        stage.invoke("export-usage", which)
    stage.invoke("export-usage", {"rum-report-key": "PID:NO,SN:NO,REPORT:1"})
    for count in (1, 2):
        code = stage.authority.code(stage.device, ("hseck9", count + number), ends=stage.now + 16 * DAY)
        stage.invoke("import-file", {"file-path": stage.put(f"in-{count}", stage.authority.file(code))})
    stage.invoke("import-file", {"file-path": "missing"})
    stage.invoke("import-code", {"content": "no document"})


def network(stage: Stage) -> None:
    """What needs the network: refused with the transport off, queued and failed with one that cannot carry it."""
    number = index(stage)
    online = ("sync", "renew-auth", "renew-id")
    kinds = (("off", False), ("callhome", False), ("automatic", False), ("smart", True))
    for kind, utility in kinds:
        stage.configure(
            {"transport": {"transport-type": f"transport-type-{kind}"}, "utility": {"utility-enable": utility}}
        )
        stage.look()
        for name in online:
            stage.invoke(name)
        for feature, add in (("hseck9", True), ("tier-2", False), ("nothing", True)):
            given = {"feature-name": feature, "add": add, "local": add}
            stage.invoke("authorization-request-online", given)
    for given in (
        {"license": "sessions"},
        {"license": "hseck9", "count": 1, "throughput": 100 + number},
        {"license": "tier-2", "count": 500 + number, "throughput": 1000},
    ):
        stage.invoke("ask-permission", given)
    for count in (0, 1, 2):
        # one licence's report is closed, then that of two
        for licence in ("advantage", "sessions", "tier-2"):
            stage.use(licence, 0)
        for licence in ("advantage", "sessions")[:count]:
            stage.use(licence, 3)
        stage.advance(100)
        stage.invoke("close-reports" if number else "sync")
    stage.configure({})


def access(stage: Stage) -> None:
    """Which rule decides: for users of no, one and two groups, on all kinds of targets, and on none."""
    config = "/cisco-smart-license:licensing/config"
    for user, groups, operation, target in (
        ("ada", ["admin"], "create", config),
        ("cole", ["collector"], "update", f"{config}/custom-id"),
        ("cole", ["collector", "reader"], "read", "/ietf-netconf-acm:nacm/groups"),
        ("rita", ["reader"], "delete", config),
        ("rita", ["reader"], "exec", "slp-agent:sync"),
        ("nemo", [], "read", "slp-agent:report-closed"),
        ("nemo", [], "read", "/nowhere:at-all"),
        ("nemo", [], "read", "nothing"),
    ):
        given: Tree = {"user": user, "operation": operation, "target": target}
        stage.invoke("explain-access", given | ({"group": groups} if groups else {}))


def reporting(stage: Stage) -> None:
    """Policies, overdue acknowledgements, ended codes, returns."""
    days = PolicyClass(10, 20, 30)
    terms = PolicyTerms(f"All of {stage.profile.sn}", days, days, days, days, ack_required=True)
    install(stage, stage.authority.policy(stage.device, terms))
    stage.edit({"usage": {"interval": 5}})
    stage.look()
    stage.advance(16 * DAY)
    stage.clock.at += 5 * DAY
    stage.look()
    acknowledge(stage, Account("Late", "V"))
    stage.look()
    install(stage, stage.authority.code(stage.device, ("hseck9", 5), ends=stage.now + 60 * DAY))
    stage.look()
    stage.clock.at += 25 * DAY
    stage.look()
    stage.advance(0)
    stage.use("hseck9", 0)
    install(stage, stage.authority.policy(stage.device, PolicyTerms("None", ack_required=False)))
    stage.invoke("authorization-code-return-online", {"local": True})
    stage.look()
    stage.invoke("authorization-request-offline", {"feature-name": "tier-2", "count": 4})
    stage.look()
    stage.advance(DAY)
    stage.invoke("authorization-request-offline", {"feature-name": "hseck9", "add": False})
    stage.look()


def post_paid(stage: Stage) -> None:
    """Utility mode with two customers, in time and overdue."""
    stage.advance(1000)
    names = ("id", "name", "street", "city", "state", "country", "postal-code")
    for number in range(2):
        info = {name: f"{name} {number}" for name in names}
        stage.edit({"utility": {"utility-enable": True, "customer-info": info}})
        stage.advance(1000)
        stage.invoke("close-reports")
        stage.pull()
        refuse(stage, f"late {number}", 1)
        stage.look()
        acknowledge(stage, Account("A", "B"))
        stage.look()
        stage.advance(100 * DAY)
        stage.look()
    for days in (10, 20):
        stage.edit({"usage": {"interval": days}})
    stage.edit({"utility": {"utility-enable": False}})


def reservations(stage: Stage) -> None:
    """Codes of older systems, each at a time of its own."""
    for kind in ("slr", "pak", "fla"):
        stage.advance(1000)
        install(stage, stage.authority.code(stage.device, ("hseck9", 1), kind=kind))
        stage.look()
    stage.use("hseck9", 1)
    stage.look()
    stage.use("hseck9", 0)
    stage.invoke("authorization-code-return-online", {"local": False})
    install(stage, replace(stage.authority.code(stage.device), auth_type="plr"))
    stage.look()
    stage.invoke("authorization-code-return-online")
    term = replace(stage.authority.code(stage.device, ("tier-2", 1)).entitlements[0], term="subscription")
    install(stage, replace(stage.authority.code(stage.device), entitlements=(term,)))
    stage.look()


def outages(stage: Stage) -> None:
    """A controller takes over for a while; a stop in good order, and a crash; licences that are not used any longer."""
    stage.advance(10_000)
    for mode in ("controller", "autonomous"):
        stage.edit({"slp-agent:operating-mode": mode})
        stage.advance(1000)
    stage.edit({"slp-agent:boot-level": {"license": ["tier-2"]}})
    stage.restart(after=5000)
    stage.look()
    stage.crash(700)
    stage.advance(1000)
    stage.use("sessions", 0)
    stage.invoke("close-reports")
    stage.look()
    number = index(stage)
    stage.invoke("authorization-code-return-offline", {"file-path": f"flash:return-{number}", "local": False})
    stage.invoke("factory-reset", {"file-path": "../last"})
    if stage.lab:
        stage.invoke("rum-save-usage-all", {"file-path": "a"}, COLLECTOR)
    stage.use("sessions", 2 + number)
    stage.advance(1000)
    stage.invoke("factory-reset", {"file-path": f"flash:last-{number}", "discard": True})
    stage.look()


def troubles(stage: Stage) -> None:
    """Refusals, ends, a clock that was set back, and all that is taken back again."""
    number = index(stage)
    for licence in ("nothing", "hseck9"):
        stage.use(licence, 9)
    stage.invoke("import-code", {"content": "<smartLicense>"})
    other = Authority("another authority", lab=stage.lab)
    stage.invoke("import-code", {"content": other.file(other.trust_code(stage.device)).decode()})
    stage.invoke("authorization-request-online", {"feature-name": "hseck9"})
    stage.invoke("sync")
    for origin in ("custom", "factory"):
        name = f"{origin} of {stage.profile.sn}"
        install(stage, stage.authority.policy(stage.device, PolicyTerms(name), origin))
        install(stage, stage.authority.policy(stage.device, None, origin))
    stage.invoke("rum-save-usage-all", {"file-path": "a"}, COLLECTOR)
    refuse(stage, f"chain-{number}", 1 + number)
    kind = ("slr", "slac")[number]
    for count in (1, 2):
        counts = (("hseck9", count), ("tier-2", 1))[:count]
        ending = stage.authority.code(stage.device, *counts, ends=stage.now + 100, kind=kind)  # type: ignore[arg-type]
        install(stage, ending)
    stage.advance(7200)
    install(stage, stage.authority.code(stage.device, ("tier-2", 1), kind=kind, ends=stage.now + 100))  # type: ignore[arg-type]
    stage.advance(7200)
    install(stage, stage.authority.trust_code(stage.device, years=1))
    stage.advance(100)
    install(stage, stage.authority.rotation(stage.device, stage.authority.anchor, *[other.anchor] * number))
    for _ in range(80):
        stage.clock.at += 5 * DAY
        stage.advance(0)
    stage.clock.at -= 4000 + number
    stage.advance(0)
    stage.look()


OTHER = {
    'pid = "FILE-1"': 'pid = "FILE-2"',
    'vid = "V02"': 'vid = "V03"',
    'hostname = "files"': 'hostname = "other"',
    "regid.2026-11.test.FILE,1.0_aa": "regid.2026-11.test.FILE,2.0_aa",
    '"17.9.1a"': '"17.6.1"',
    'name = "hseck9"\n': 'name = "hseck9"\nversion = "2.0"\n',
    'name = "sessions"': 'name = "sessions"\nsubscription-id = "SUB-9"',
    "count = 25": "count = 26",
    "2026-01-01": "2026-02-01",
    "2029-01-01": "2029-02-01",
    "SUB-7": "SUB-8",
}


SMALL = """
[product]
pid = "SMALL-1"
hostname = "small"
software-tag = "regid.2026-11.test.SMALL,1.0_aa"
software-version = "17.3.1"

[[license]]
name = "only"
entitlement-tag = "regid.2026-11.test.ONLY,1.0_01"

[[purchase]]
entitlement-tag = "regid.2026-11.test.ONLY,1.0_01"
"""


def small(stage: Stage) -> None:
    """A product with one licence, which was bought with it."""
    stage.use("only", 1)
    stage.look()


def lives() -> Iterator[tuple[str, tuple[Callable[[Stage], None], ...]]]:
    """Profile and parts of each life: two products, of two releases, the second in a lab; and a small one."""
    text = (PROFILE + PURCHASES).replace('term = "subscription"', 'term = "subscription"\nsubscription-id = "SUB-1"')
    other = PROFILE + PURCHASES + '[[purchase]]\nentitlement-tag = "regid.2026-11.test.TIER2,1.0_03"\n'
    for old, new in OTHER.items():
        assert old in other, old
        other = other.replace(old, new)
    begin = (settings, serving, unregistered, first, registered, files, network, access, reporting)
    yield text, (*begin, post_paid, troubles, outages)
    yield other, (*begin, reservations, troubles, outages)
    yield SMALL, (small,)
