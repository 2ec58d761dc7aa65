"""Monitors and eavesdroppers on the real simulator: who alarms what, clean links, closed forms, whole sessions."""

from __future__ import annotations

import json
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from distribution.analyser import Analyser
from distribution.detector import Afterpulsing
from distribution.eavesdroppers.blinding import Blinding
from distribution.eavesdroppers.intercept import BREIDBART, InterceptResend
from distribution.eavesdroppers.middle import SourceInTheMiddle
from distribution.eavesdroppers.named import Attack, link_under
from distribution.eavesdroppers.timeshift import TimeShift
from distribution.monitors.finding import Watch
from distribution.monitors.limits import Limits
from distribution.monitors.recordings import watch_tags
from distribution.monitors.station import StationMonitor
from distribution.outcomes import LinkOptics
from distribution.scenario import Scenario
from distribution.simulate import Simulation, simulate
from distribution.source import Pulses, Statistics
from distribution.sources.replay import Replay
from distribution.twoqubit import linear
from qkd.exchange.engine import Engine
from qkd.exchange.steps import Role, Steps
from qkd.exchange.transcript import Transcript
from qkd.link import Link, SessionRecord, Side, run_to_end
from qkd.randomness import FixedBits
from qkd.session import SessionParameters
from qkd.station import Station
from qkd.testing import MemoryVault
from tests.attack_table import CASES, Case, metro
from tests.commands import one_object, qkd
from tests.live import LiveLink

replace = msgspec.structs.replace


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_attack_alarms_its_monitors_and_no_other(case: Case) -> None:
    findings = case.findings()
    assert {f.watch for f in findings if f.alarm} == case.expected
    for finding in findings:
        if finding.alarm:
            assert finding.chance < finding.limit <= 1e-7


# --- clean links ---------------------------------------------------------------------------------------------------


def test_clean_links_do_not_alarm() -> None:
    """12 more seeds of the metropolitan link, 0.25 s each, both stations and their pairs."""
    for seed in range(12):
        findings = Case("nobody", frozenset(), seconds=0.25).findings(100 + seed)
        assert not [f.text for f in findings if f.alarm]


def pulsed(modes: float) -> Scenario:
    pulses = Pulses(rate_hz=80e6, width_ps=5.0, statistics=Statistics.MODES, modes=modes)
    link = metro()
    return replace(link, pairs=replace(link.pairs, pulses=pulses))


def turned() -> Scenario:
    """Bob turns his analyser; detectors of different bases never click together, which is a third of all that do."""
    link = metro()
    return replace(link, bob=replace(link.bob, analyser=Analyser(slot_ns=1000.0)))


@pytest.mark.parametrize(
    ("link", "limits"),
    [
        (metro(afterpulsing=Afterpulsing(probability=0.03, decay_ns=(50.0,))), Limits(interval_s=0.25)),
        (metro(dead_ns=1000.0), Limits(interval_s=0.25)),
        (metro(dead_ns=100.0, mutes_station=True), Limits(interval_s=0.25, station_dead_ps=100_000)),
        (metro(delay_ps=(0.0, 4000.0, -300.0, 90.0)), Limits(interval_s=0.25)),
        (metro(efficiency=(0.8, 0.72, 0.75, 0.8), dark_cps=(5e3, 100.0, 100.0, 0.0)), Limits(interval_s=0.25)),
        (pulsed(10.0), Limits(interval_s=0.25, pulse_period_ps=12_500)),
        (turned(), Limits(interval_s=0.25)),
    ],
    ids=["afterpulses", "long dead time", "one dead time for all", "skewed", "uneven and noisy", "pulsed", "active"],
)
def test_properties_of_honest_detectors_are_no_attack(link: Scenario, limits: Limits) -> None:
    for seed in range(3):
        tags = simulate(link, 0.8, np.random.default_rng(seed)).bob
        assert not [f.text for f in watch_tags(tags, limits) if f.alarm]


def test_thermal_light_of_one_mode_bunches_and_is_told_from_independent_photons() -> None:
    """Detectors of one side see g2 = 1 + 1/K = 2 in a pulse: five sigma of about 1900 double clicks due."""
    tags = simulate(pulsed(1.0), 0.8, np.random.default_rng(3)).bob
    found = next(
        f for f in watch_tags(tags, Limits(interval_s=0.25, pulse_period_ps=12_500)) if f.watch is Watch.DOUBLE_CLICKS
    )
    assert abs(found.statistic - 2.0) < 5 * 2.0 / math.sqrt(found.counts["together"])


# --- closed forms, five sigma --------------------------------------------------------------------------------------


def quiet(**analyser: float) -> Scenario:
    """Perfect pairs, no noise, no dead time, bright arms: what is left are the statistics of pairs."""
    link = metro(dark_cps=0.0, dead_ns=0.0)
    alice = replace(link.alice, detectors=replace(link.alice.detectors, dark_cps=0.0, dead_ns=0.0))
    pairs = replace(link.pairs, pairs_per_s=1e6, visibility_z=1.0, visibility_x=1.0)
    return replace(link, pairs=pairs, alice=alice, bob=replace(link.bob, analyser=Analyser(**analyser)))


def table(made: Simulation) -> np.ndarray:
    """True pairs by both detectors, shape (4, 4); from the truth, so no accidental is among them."""
    i, j = made.truth.partners()
    return np.bincount(4 * made.alice.channel[i].astype(int) + made.bob.channel[j], minlength=16).reshape(4, 4)


def made(link: Scenario, attack: Attack, seconds: float = 1.0, seed: int = 5) -> Simulation:
    return simulate(link_under(attack, link), seconds, np.random.default_rng(seed), attack)


@pytest.mark.parametrize("fraction", [0.2, 1.0])
@pytest.mark.parametrize("bases", [(0.0, math.pi / 4), BREIDBART], ids=["both bases", "Breidbart"])
def test_intercept_resend_makes_a_quarter_of_errors(fraction: float, bases: tuple[float, ...]) -> None:
    """QBER = f / 4 in either basis, for Z and X at random as for the basis between them; about 10 000 pairs each."""
    counts = table(made(quiet(), InterceptResend(fraction, bases)))
    for k in (0, 2):
        block = counts[k : k + 2, k : k + 2]
        n, p = block.sum(), fraction / 4
        assert n > 9000
        assert abs((n - np.trace(block)) / n - p) < 5 * math.sqrt(p * (1 - p) / n)


def test_between_the_bases_eve_guesses_85_per_cent() -> None:
    """cos^2(pi/8) in both bases, against 75 % on average when she chooses one of them at random."""
    state = quiet().pairs.quantum_state
    for alice_rad in (0.0, math.pi / 4):
        seen = state.probabilities(linear(alice_rad), linear(BREIDBART[0]))
        assert np.trace(seen) == pytest.approx(math.cos(math.pi / 8) ** 2)
        at_random = [np.trace(state.probabilities(linear(alice_rad), linear(m))) for m in (0.0, math.pi / 4)]
        assert np.mean(at_random) == pytest.approx(0.75)


@pytest.mark.parametrize("fraction", [0.3, 1.0])
def test_intercept_resend_lowers_chsh(fraction: float) -> None:
    """S = 2 sqrt2 (1 - f/2) at 0, 45 against 22.5, 67.5 degrees; sqrt2, no violation, when she takes every photon."""
    counts = table(made(quiet(z_error_deg=22.5, x_error_deg=22.5), InterceptResend(fraction)))
    s, variance = 0.0, 0.0
    for i in (0, 1):
        for j in (0, 1):
            block = counts[2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            e = (2 * np.trace(block) - block.sum()) / block.sum()
            s += -e if (i, j) == (0, 1) else e
            variance += (1 - e * e) / block.sum()
    assert abs(s - 2 * math.sqrt(2) * (1 - fraction / 2)) < 5 * math.sqrt(variance)


def test_a_blinded_passive_analyser_measures_in_eves_basis() -> None:
    """Bob's split is even; the share of Z among his coincidences is hers, 0.3; there are R eta_A eta_Eve of them."""
    counts = table(made(quiet(), Blinding(efficiency=0.3, z_share=0.3)))
    n = counts.sum()
    assert abs(counts[:, :2].sum() / n - 0.3) < 5 * math.sqrt(0.3 * 0.7 / n)
    alice = 10**-0.6 * 0.8
    assert abs(n - 1e6 * alice * 0.3) < 5 * math.sqrt(1e6 * alice * 0.3)
    assert counts[0, 1] + counts[1, 0] + counts[2, 3] + counts[3, 2] == 0


def test_blinding_costs_who_turns_his_analyser_half_of_his_pairs() -> None:
    counts = table(made(quiet(slot_ns=1e4), Blinding(efficiency=0.3)))
    due = 1e6 * 10**-0.6 * 0.8 * 0.3 / 2
    # Slots of 10 us are drawn, not dealt: 1e5 of them vary the share of each basis by 1 / sqrt(1e5) of itself.
    assert abs(counts.sum() - due) < 5 * math.sqrt(due)
    assert counts[0, 1] + counts[1, 0] + counts[2, 3] + counts[3, 2] == 0


def test_a_source_in_the_middle_double_clicks_as_often_as_two_photons_do() -> None:
    """R f sum of 2 c_i c_j, averaged over her polarisations, on top of the accidental ones; each side."""
    link, attack = quiet(), SourceInTheMiddle(fraction=0.2)
    found = made(link, attack)
    optics: LinkOptics = link.optics(*(s.course(np.random.default_rng(0)).at(0.0) for s in (link.alice, link.bob)))
    for side, tags in ((optics.alice, found.alice), (optics.bob, found.bob)):
        pulses = 0.0
        for polarisation in (side.axis[0], -side.axis[0], side.axis[1], -side.axis[1]):
            c = side.chance(polarisation)
            pulses += 1e6 * 0.2 * (c.sum() ** 2 - (c**2).sum()) / 4
        said = next(f for f in watch_tags(tags) if f.watch is Watch.DOUBLE_CLICKS).counts
        assert pulses > 1000
        assert abs(said["together"] - said["due"] - pulses) < 5 * math.sqrt(said["together"] + said["due"] / 20)


def test_a_time_shift_divides_the_outcomes_as_the_efficiencies_do() -> None:
    """Shares 2/3 and 1/3 of outcome 0 early and late for efficiencies 1 : 1/2; Alice sees it in her own outcomes."""
    case = Case("shift", frozenset(), TimeShift(fraction=1.0), link=quiet())
    shifts = [f for f in case.findings() if f.watch is Watch.TIME_SHIFT]
    assert len(shifts) == 2
    for finding in shifts:
        n = sum(finding.counts.values())
        # The window holds 99 % of the shifted pairs and the halves are cut at a sub-bin: no more than that is lost.
        assert abs(finding.statistic - 1 / 3) < 5 * math.sqrt(8 / 9 / n) + 0.003


# --- sessions ------------------------------------------------------------------------------------------------------


def session(attack: Attack | None, seconds: float = 1.6) -> SessionRecord:
    tags = simulate(link_under(attack, metro()), seconds, np.random.default_rng(9), attack)
    pre_shared = FixedBits("monitors").take_bytes(16384)

    def side(name: str) -> Side:
        return Side(Replay(getattr(tags, name), simulated=True), MemoryVault(pre_shared), FixedBits(name))

    params = SessionParameters(epoch_s=0.1, clock_uncertainty_s=0.2, block_bits=20_000, least_block_bits=5_000)
    return run_to_end(Link(params, side("alice"), side("bob")))


def names(record: SessionRecord, role: Role) -> set[Watch]:
    return {finding.watch for finding in record.alarms[role]}


def test_a_clean_session_raises_nothing() -> None:
    record = session(None)
    assert record.alarms == {Role.ALICE: (), Role.BOB: ()}
    assert len(record.outcomes) > 3
    assert {a.block.report.alarms for a, _ in record.outcomes} == {()}


def test_a_shifted_session_makes_keys_and_says_that_it_is_shifted() -> None:
    """Errors stay low, so the protocol goes on; Alice alone, from Bob's coarsened times and her outcomes, sees it."""
    record = session(TimeShift(fraction=0.5))
    assert names(record, Role.ALICE) == {Watch.ARRIVAL_INFORMATION, Watch.TIME_SHIFT}
    assert names(record, Role.BOB) == set()
    last = record.outcomes[-1][0].block.report
    assert last.alarms == ("arrival-information", "time-shift")
    assert last.qber_z < 0.03


def test_a_blinded_bob_finds_out_by_himself() -> None:
    record = session(Blinding(efficiency=0.2, dead_ns=80.0))
    assert names(record, Role.BOB) == {Watch.BLINDING}
    assert names(record, Role.ALICE) == set()
    assert record.outcomes[-1][1].block.report.alarms == ("blinding",)


@pytest.mark.parametrize("cuts", [1, 40])
def test_a_station_shows_every_tag_to_its_monitor_once(cuts: int) -> None:
    """Also those that wait for the end of a multiple click, and those after the last cut."""
    tags = simulate(metro(), 0.1, np.random.default_rng(4)).alice
    station = Station(2000, FixedBits("once"))

    def role() -> Steps[None]:
        for until_ps in np.linspace(0, int(tags.t_ps[-1]), cuts).astype(int).tolist():
            yield from station.collect(until_ps)
        yield from station.collect(1 << 60)

    engine, source = Engine(Role.ALICE, role(), Transcript()), Replay(tags, simulated=True)
    while engine.wants_tags is not None:
        engine.feed(source.until(engine.wants_tags.until_ps))
    direct = StationMonitor(2000)
    direct.feed(tags)
    direct.finish()
    assert engine.done
    assert station.monitor.findings() == direct.findings()


def test_from_the_attack_to_the_alarm_by_commands(tmp_path: Path) -> None:
    out = tmp_path / "run"
    attack = "source-in-the-middle:fraction=0.02"
    done = qkd("simulate", "metro", "--out", out, "--seconds", 1, "--seed", 3, "--attack", attack)
    assert done.returncode == 0, done.stderr
    truth = json.loads((out / "truth.json").read_text())
    assert truth["attack"] == {"name": "source-in-the-middle", "fraction": 0.02, "photons": 2, "z_share": 0.5}
    files = (out / "alice.a1.ts", out / "bob.a1.ts")
    analysed = one_object(qkd("analyse", *files, "--json"))
    assert analysed["monitors"]["alarms"] == ["double-clicks"]
    told = qkd("session", "--alice", files[0], "--bob", files[1], "--json", "--block-bits", 20000)
    report = one_object(told)
    assert report["alarms"] == ["double-clicks"]
    assert {f["monitor"] for f in report["alarm_findings"]["bob"]} == {"double-clicks"}
    assert "alarm at bob: double-clicks" in told.stderr


@pytest.mark.slow
def test_live_stations_tell_each_alarm_once(tmp_path: Path) -> None:
    """Source, two nodes and an attack as processes: what Alice's monitors see arrives as events, once each."""
    link = LiveLink(tmp_path)
    link.start_source("--attack", "time-shift:fraction=0.5")
    link.start_node("alice")
    link.start_node("bob")
    try:
        event = link.wait_for("alice", lambda e: e.get("monitor") == "time-shift", 60)
        assert event["event"] == "alarm"
        assert event["chance"] < event["chance_limit"]
        assert "align the detectors" in event["text"]
        block = link.wait_for("alice", lambda e: e.get("event") == "block" and "time-shift" in e["alarms"], 60)
        assert block["qber_z"] < 0.05
        told = [e["monitor"] for e in link.events["alice"] if e.get("event") == "alarm"]
        assert sorted(told) == sorted(set(told))
        assert not [e for e in link.events["bob"] if e.get("event") == "alarm"]
    finally:
        link.stop()
