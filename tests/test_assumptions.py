"""Claims and what they rest on: whatever breaks an assumption takes the claim, at both ends and with the reason."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from distribution.monitors.finding import Finding, Watch
from distribution.sources.replay import Replay
from distribution.tags import EMPTY
from qkd.assumptions.claim import ANNOUNCED, BROKEN_BY, NOTHING_FAILED, Assumption, Claim, Findings, How, judge
from qkd.assumptions.exchange import ANNOUNCED_BITS
from qkd.assumptions.limits import AssumptionLimits, OnFailed
from qkd.errors import AssumptionFailed, ParameterError, PeerUnreachable, RemoteProtocolError
from qkd.exchange.codec import decode, encode
from qkd.exchange.messages import Kept, StationFindings
from qkd.exchange.steps import Role
from qkd.node.config import EXAMPLE, load, resolved
from qkd.node.stationloop import StationLoop
from qkd.randomness import FixedBits
from qkd.session import BlockReport, SessionParameters
from qkd.station import Station
from qkd.testing import MemoryVault
from tests.broken_stations import CASES, Broken
from tests.small_link import PARAMS, PRE_SHARED, small_link


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_broken_assumption_takes_the_claim_and_says_why(case: Broken) -> None:
    """0.6 s of the metropolitan link, blocks of 30 000 sifted bits, seed 1; failures are five sigma beyond a limit."""
    ours, theirs = case.reports()
    assert set(ours.failed_assumptions) == case.failed
    assert ours.claim == case.claim
    assert (ours.label, ours.claim, ours.failed_assumptions) == (theirs.label, theirs.claim, theirs.failed_assumptions)
    assert ours.label.startswith(f"{case.claim}: ")
    assert ours.label.endswith("; simulated source")
    assert ("composable" in ours.label) == (not case.failed)
    assert all(reason in ours.label for reason in case.failed)
    # Each station shows its own numbers; what it announced is what it shows.
    for report, name in ((ours, "alice"), (theirs, "bob")):
        shown = {f"{name}: {v.assumption}" for v in report.assumptions if not v.holds and v.how != How.PARAMETERS.value}
        assert shown == {reason for reason in case.failed if reason.startswith(name)}


@pytest.mark.parametrize("seed", [2, 3, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 12))])
def test_an_honest_link_keeps_its_claim(seed: int) -> None:
    """Seeds 2 .. 11, all blocks of each; a failure that is not there would take a five-sigma chance beyond a limit."""
    record = CASES[0].run(seed)
    assert record.outcomes
    assert {report.block.report.claim for pair in record.outcomes for report in pair} == {"composable"}


# --- the function ---------------------------------------------------------------------------------------------------


def test_every_alarm_breaks_an_assumption_that_is_announced() -> None:
    assert set(BROKEN_BY) == set(Watch)
    assert set(BROKEN_BY.values()) <= set(ANNOUNCED)
    assert ANNOUNCED_BITS == 2 * len(ANNOUNCED) == 14


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("assumption", list(Assumption))
def test_the_least_of_all_failures_is_what_remains(role: Role, assumption: Assumption) -> None:
    one = judge(Findings({role: (assumption,)}))
    assert one.claim is assumption.otherwise
    assert one.failed == (f"{role.value}: {assumption.value}",)
    assert judge(Findings({role: (assumption, Assumption.DETECTORS_FREE)})).claim is Claim.NONE
    assert (one.claim is Claim.COMPOSABLE) == (assumption is Assumption.TRUSTED_DEVICES)


def test_a_protocol_with_a_lesser_proof_never_claims_more() -> None:
    assert judge(NOTHING_FAILED, most=Claim.ASYMPTOTIC).claim is Claim.ASYMPTOTIC
    assert judge(NOTHING_FAILED, most=Claim.DEVICE_INDEPENDENT_SIMULATION).claim is Claim.DEVICE_INDEPENDENT_SIMULATION
    failed = Findings({Role.BOB: (Assumption.EVEN_SPLIT,)})
    assert judge(failed, most=Claim.ASYMPTOTIC).claim is Claim.ASYMPTOTIC
    assert judge(failed, (Assumption.SILENT_ANSWERS,)).claim is Claim.NONE


def test_reports_add_up_and_survive_the_store() -> None:
    good, bad = CASES[0].reports()[0], CASES[3].reports()[0]
    assert msgspec.json.decode(msgspec.json.encode(bad), type=BlockReport) == bad
    assert msgspec.json.decode(msgspec.json.encode(bad), type=BlockReport).assumptions == bad.assumptions
    total = good + bad
    assert total.claim == "composable | fair sampling"
    assert total.failed_assumptions == bad.failed_assumptions
    assert total.muted == good.muted + bad.muted > 0
    assert total.announced_bits == good.announced_bits + bad.announced_bits == 4 * ANNOUNCED_BITS


# --- alarms: how long they stand --------------------------------------------------------------------------------------


def alarm(watch: Watch) -> Finding:
    return Finding(watch=watch, statistic=9.0, unit="", threshold=1.0, chance=0.0, limit=1e-7, counts={})


@pytest.mark.parametrize("watch", [Watch.BLINDING, Watch.EFFICIENCY_MISMATCH])
def test_an_alarm_counts_until_somebody_clears_it(watch: Watch) -> None:
    """It comes up in the second of four blocks, and is cleared in the fourth."""
    link, _, _ = small_link()
    claims, failed = [], []
    for at_alice, at_bob in link.blocks():
        assert link.bob.station is not None
        claims.append(at_alice.block.report.claim)
        failed.append(at_bob.block.report.failed_assumptions)
        assert claims[-1] == at_bob.block.report.claim
        if len(claims) == 1:
            link.bob.station.keep_alarms([alarm(watch)])
        if len(claims) == 3:
            assert at_bob.block.report.alarms == (watch.value,)
            link.bob.station.clear_alarms()
        if len(claims) == 4:
            break
    broken = BROKEN_BY[watch]
    assert claims == ["composable", broken.otherwise.value, broken.otherwise.value, "composable"]
    assert failed == [(), (f"bob: {broken.value}",), (f"bob: {broken.value}",), ()]


def test_an_alarm_outlives_a_tagger_that_comes_back() -> None:
    """Else whoever can break the feed could clear it."""

    async def mended() -> StationLoop:
        loop = StationLoop(
            Role.BOB, PARAMS, MemoryVault(PRE_SHARED), FixedBits("bob"), Replay(EMPTY), lambda: Replay(EMPTY),
            lambda _: None, lambda _: None, lambda *_: None,
        )  # fmt: skip
        loop.station.keep_alarms([alarm(Watch.BLINDING)])
        await loop._mend_feed()
        return loop

    assert [a.watch for a in asyncio.run(mended()).station.standing_alarms()] == [Watch.BLINDING]


@pytest.mark.parametrize("role", list(Role))
def test_a_station_may_refuse_to_make_such_a_key(role: Role) -> None:
    """Whichever station refuses, whichever has the alarm: no key at either end, and both name the reason."""
    for troubled in Role:
        link, alice, bob = small_link()
        for side, name in ((link.alice, Role.ALICE), (link.bob, Role.BOB)):
            limits = AssumptionLimits(on_failed=OnFailed.ABORT if name is role else OnFailed.LABEL)
            side.station = Station(
                PARAMS.double_click_ps, side.secrets, mute_ps=PARAMS.mute_ps, assumption_limits=limits
            )
            if name is troubled:
                side.station.keep_alarms([alarm(Watch.BLINDING)])
        with pytest.raises(AssumptionFailed, match=f"{troubled.value}: detectors-free"):
            next(link.blocks())
        assert alice.blocks == bob.blocks == []


# --- what the other end may say ---------------------------------------------------------------------------------------


def altered(by: Role, change: Callable[[StationFindings], StationFindings]) -> Callable[[Role, bytes], list[bytes]]:
    def tamper(sender: Role, encoded: bytes) -> list[bytes]:
        message = decode(encoded)
        if sender is by and isinstance(message, StationFindings):
            return [encode(change(message))]
        return [encoded]

    return tamper


SPLIT, SILENT = Assumption.EVEN_SPLIT.value, Assumption.SILENT_TIMES.value


@pytest.mark.parametrize(
    ("by", "change", "told"),
    [
        (Role.BOB, lambda m: StationFindings(("no such thing",)), "1 assumptions"),
        (Role.ALICE, lambda m: StationFindings((SILENT, SPLIT)), "2 assumptions"),
        (Role.ALICE, lambda m: StationFindings((SPLIT, SPLIT)), "2 assumptions"),
        (Role.BOB, lambda m: StationFindings((Assumption.SILENT_ANSWERS.value,)), "1 assumptions"),
        (Role.ALICE, lambda m: Kept(0, 1, b"", False), "expected StationFindings"),
    ],
)
def test_nonsense_from_the_other_end_is_refused(
    by: Role, change: Callable[[StationFindings], StationFindings], told: str
) -> None:
    link, alice, bob = small_link(tamper=altered(by, change))
    with pytest.raises(RemoteProtocolError, match=told):
        next(link.blocks())
    assert alice.blocks == bob.blocks == []


@pytest.mark.parametrize("by", list(Role))
def test_eve_cannot_change_what_is_said_to_have_failed(by: Role) -> None:
    """The tags cover it: no block is kept in which the two ends would differ in their claim."""
    link, alice, bob = small_link(tamper=altered(by, lambda m: StationFindings((SPLIT,))))
    with pytest.raises((RemoteProtocolError, PeerUnreachable)):
        next(link.blocks())
    assert alice.blocks == bob.blocks == []


def test_what_is_announced_holds_no_count_by_outcome() -> None:
    """Names alone; of a good block, none."""
    said: list[StationFindings] = []

    def listen(_sender: Role, encoded: bytes) -> list[bytes]:
        message = decode(encoded)
        if isinstance(message, StationFindings):
            said.append(message)
        return [encoded]

    link, _, _ = small_link(tamper=listen)
    next(link.blocks())
    assert said == [StationFindings(())] * 2


# --- configuration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"efficiency_ratio": 0.9}, "efficiency_ratio = 0.9"),
        ({"sigma": 0.0}, "sigma"),
        ({"sigma": float("nan")}, "sigma"),
        ({"z_share": 1.0}, "z_share"),
        ({"dead_ps": -1}, "dead_ps"),
        ({"efficiencies": (0.5, 0.5)}, "2 numbers"),
        ({"efficiencies": (0.5, 0.5, 0.0, 0.5)}, r"\(0, 1\]"),
    ],
)
def test_impossible_limits_are_named(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        AssumptionLimits(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("mute_ps", [-1, 1, 1999, 2 * 10**12])
def test_impossible_dead_windows_are_named(mute_ps: int) -> None:
    with pytest.raises(ParameterError, match=f"mute_ps = {mute_ps}"):
        SessionParameters(mute_ps=mute_ps)
    assert SessionParameters(mute_ps=0, double_click_ps=2000).mute_ps == 0


def test_a_station_is_configured_by_its_file(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_text(EXAMPLE)
    assert load(path).assumptions == AssumptionLimits()
    path.write_text(EXAMPLE.replace('on_failed = "label"', 'on_failed = "abort"\nefficiencies = [0.8, 0.7, 0.8, 0.8]'))
    config = load(path)
    assert config.assumptions == AssumptionLimits(on_failed=OnFailed.ABORT, efficiencies=(0.8, 0.7, 0.8, 0.8))
    path.write_text(resolved(config))
    assert replace(load(path), folder=config.folder) == config
    for old, new, told in (
        ('on_failed = "label"', 'on_failed = "shrug"', "shrug"),
        ("efficiency_ratio = 1.1", "efficiency_ratio = 0.1", "efficiency_ratio = 0.1"),
        ("efficiency_ratio = 1.1", "eficiency_ratio = 1.1", "assumptions.eficiency_ratio"),
    ):
        path.write_text(EXAMPLE.replace(old, new))
        with pytest.raises(ParameterError, match=told):
            load(path)


def test_too_few_counts_are_no_failure() -> None:
    """A block of one bit a basis fails nothing that is measured: five sigma need counts."""
    from distribution.monitors.limits import Limits
    from qkd.assumptions.judge import Seen, verdicts
    from qkd.assumptions.tally import Tally

    seen = Seen(
        tally=Tally(50_000),
        sifted=np.array([1, 0, 0, 1]),
        pairs=np.array([[1, 0], [0, 1]]),
        alarms=(),
        limits=AssumptionLimits(),
        monitor_limits=Limits(),
    )
    assert all(v.holds for v in verdicts(seen, PARAMS))
    assert all(v.holds for v in verdicts(replace(seen, sifted=np.zeros(4, int), pairs=np.zeros((2, 2), int)), PARAMS))


def test_the_document_names_every_assumption_and_alarm() -> None:
    """One row each in its tables, with the claim that is left and the limits that exist."""
    text = (Path(__file__).parents[1] / "docs" / "assumptions.md").read_text()
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    for assumption in Assumption:
        left = assumption.otherwise.value if assumption is not Assumption.TRUSTED_DEVICES else "-"
        assert rows[assumption.value].rstrip(" |").endswith(left)
    broken = text.split("## Alarms")[1]
    for watch, assumption in BROKEN_BY.items():
        assert any(watch.value in line and assumption.value in line for line in broken.splitlines())
    for case in CASES:
        assert rows[case.name].split("|")[2].strip() == case.claim
        assert set(rows[case.name].split("|")[3].strip().split(", ")) == (case.failed or {"-"})
