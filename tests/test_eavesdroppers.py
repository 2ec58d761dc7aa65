"""Eavesdroppers as outcome sets: exact weights against closed forms, and bad parameters refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from distribution.eavesdroppers.blinding import Blinding
from distribution.eavesdroppers.intercept import InterceptResend
from distribution.eavesdroppers.middle import SourceInTheMiddle
from distribution.eavesdroppers.named import ATTACKS, at_work, describe, link_under, parse_attack
from distribution.eavesdroppers.timeshift import TimeShift
from distribution.errors import ParameterError
from distribution.outcomes import NOBODY, LinkOptics, Nobody, OutcomeSet, SideOptics
from distribution.scenario import load_scenario
from distribution.states import Basis, BellDiagonal, BellState
from distribution.twoqubit import TwoQubit, linear


def optics(state: BellState = BellState.PHI_PLUS, visibility: float = 0.96, z_share: float = 0.5) -> LinkOptics:
    """Two passive analysers with unequal detectors."""
    axis = np.array([linear(0.0), linear(np.pi / 4)])
    share = np.array([z_share, 1.0 - z_share])
    alice = SideOptics(share, axis, np.array([0.20, 0.18, 0.19, 0.21]), np.full(4, 500.0))
    bob = SideOptics(share, axis, np.array([0.10, 0.12, 0.11, 0.09]), np.full(4, 300.0))
    pair = TwoQubit.from_bell_diagonal(BellDiagonal.from_visibilities(state, visibility, visibility))
    return LinkOptics(pair, alice, bob)


def table(outcomes: OutcomeSet) -> np.ndarray:
    """Weights of single clicks a side, shape (5, 5), index 4 = nobody; double clicks count as their first."""
    found = np.zeros((5, 5))
    column = np.minimum(np.stack([outcomes.alice[:, 0], outcomes.bob[:, 0]]), 4)
    np.add.at(found, (column[0], column[1]), outcomes.weight)
    return found


def doubles(outcomes: OutcomeSet, side: str) -> float:
    hits = outcomes.alice if side == "alice" else outcomes.bob
    return float(outcomes.weight[hits[:, 1] != NOBODY].sum())


@pytest.mark.parametrize("attack", [TimeShift(fraction=0.0), Blinding(fraction=0.0), SourceInTheMiddle(fraction=0.0)])
def test_an_eavesdropper_who_does_nothing_is_nobody(attack: TimeShift | Blinding | SourceInTheMiddle) -> None:
    honest, found = Nobody().outcomes(optics()), attack.outcomes(optics())
    assert table(found.pairs) == pytest.approx(table(honest.pairs), abs=1e-15)
    assert table(found.noise) == pytest.approx(table(honest.noise))
    assert doubles(found.pairs, "bob") == 0.0


@pytest.mark.parametrize("basis", list(Basis))
@pytest.mark.parametrize("state", list(BellState))
def test_single_photons_in_the_middle_are_intercept_resend(state: BellState, basis: Basis) -> None:
    """One photon a side in a product state of a random basis: 25 % errors, as for a full intercept-resend."""
    found = SourceInTheMiddle(photons=1).outcomes(optics(state, 1.0)).pairs
    two = slice(2 * basis.value, 2 * basis.value + 2)
    block = table(found)[two, two] / np.outer(optics().alice.efficiency[two], optics().bob.efficiency[two])
    equal = np.trace(block) / block.sum()
    assert (equal if state.anticorrelated(basis) else 1.0 - equal) == pytest.approx(0.25)


def test_time_shift_keeps_the_errors_and_correlates_outcome_with_lateness() -> None:
    link = optics()
    attack = TimeShift(fraction=0.4, shift_ps=250.0, early=(1, 0.5, 1, 0.5), late=(0.5, 1, 0.5, 1))
    found, honest = attack.outcomes(link).pairs, Nobody().outcomes(link).pairs
    early, late = (found.late_bob_ps == s for s in (-250.0, 250.0))
    clicks = {}
    for name, chosen in (("early", early), ("late", late)):
        part = OutcomeSet(*(getattr(found, f)[chosen] for f in OutcomeSet.__slots__))
        clicks[name] = table(part)[:, :4].sum(axis=0)
    # Of 1 and r = 1/2, the favoured detector makes 2/3 of the clicks: her guess is right that often.
    assert clicks["early"][0] / clicks["late"][0] == pytest.approx(2.0)
    assert clicks["early"][1] / clicks["late"][1] == pytest.approx(0.5)
    assert table(found)[:2, :2] / table(found)[:2, :2].sum() == pytest.approx(
        table(honest)[:2, :2] / table(honest)[:2, :2].sum()
    )
    # Alice's photon is hers: her clicks are as many as before.
    assert table(found)[:4].sum(axis=1) == pytest.approx(table(honest)[:4].sum(axis=1))


def turned(link: LinkOptics, alice: int, bob: int) -> LinkOptics:
    """The same link with active analysers, turned to these bases."""
    sides = [replace(s, share=np.eye(2)[k]) for s, k in ((link.alice, alice), (link.bob, bob))]
    return replace(link, alice=sides[0], bob=sides[1])


def test_every_faked_state_clicks_at_a_passive_analyser() -> None:
    """Clicks per pair and basis: efficiency x Eve's choice, whatever Bob's split is."""
    link = optics(z_share=0.7)
    found = Blinding(efficiency=0.3, z_share=0.4).outcomes(link)
    clicks = table(found.pairs)
    assert clicks[:, :2].sum() == pytest.approx(0.3 * 0.4)
    assert clicks[:, 2:4].sum() == pytest.approx(0.3 * 0.6)
    # Coincidences per basis of Bob: Alice's photon is measured as ever.
    assert clicks[:2, :2].sum() == pytest.approx(0.7 * (0.20 + 0.18) / 2 * 0.3 * 0.4)
    assert table(found.noise)[4, :4].sum() == 0.0
    assert table(found.noise)[:4, 4].sum() == pytest.approx(2000.0)
    honest = table(Nobody().outcomes(link).pairs)
    assert clicks[:4].sum(axis=1) == pytest.approx(honest[:4].sum(axis=1))


@pytest.mark.parametrize("basis", [0, 1])
def test_who_turns_his_analyser_loses_the_faked_states_of_the_other_basis(basis: int) -> None:
    clicks = table(Blinding(efficiency=0.3, double_share=0.2).outcomes(turned(optics(), 0, basis)).pairs)
    assert clicks[:, 2 * basis : 2 * basis + 2].sum() == pytest.approx(0.3 / 2)
    assert clicks[:, 2 * (1 - basis) : 2 * (1 - basis) + 2].sum() == 0.0


def test_blinding_makes_no_errors() -> None:
    block = table(Blinding().outcomes(optics(visibility=1.0)).pairs)[:2, :2]
    assert block[0, 1] == block[1, 0] == 0.0
    assert block.sum() > 0


def test_blinding_both_stations_leaves_no_coincidence_in_different_bases() -> None:
    found = Blinding(both=True, efficiency=0.1).outcomes(optics())
    clicks = table(found.pairs)
    assert clicks[:2, 2:4].sum() == clicks[2:4, :2].sum() == 0.0
    assert clicks[:4, :4].sum() == pytest.approx(0.1)
    assert found.noise.weight.sum() == 0.0
    different = table(Blinding(both=True, efficiency=0.1).outcomes(turned(optics(), 0, 1)).pairs)
    assert different[:4, :4].sum() == 0.0
    assert different[:4, 4].sum() == different[4, :4].sum() == pytest.approx(0.05)


def test_too_bright_faked_states_trip_two_detectors() -> None:
    found = Blinding(efficiency=0.2, double_share=0.1).outcomes(optics()).pairs
    assert doubles(found, "bob") == pytest.approx(0.2 * 0.1)
    assert doubles(found, "alice") == 0.0


def test_two_photons_in_the_middle_double_click() -> None:
    """P(i and j) = 2 c_i c_j, averaged over Eve's four polarisations."""
    link = optics()
    found = SourceInTheMiddle(fraction=1.0).outcomes(link).pairs
    due = 0.0
    for polarisation in (link.bob.axis[0], -link.bob.axis[0], link.bob.axis[1], -link.bob.axis[1]):
        c = link.bob.chance(polarisation)
        due += (c.sum() ** 2 - (c**2).sum()) / 4.0
    assert doubles(found, "bob") == pytest.approx(due)


def test_weights_of_an_emission_never_exceed_one() -> None:
    for attack in (TimeShift(), Blinding(efficiency=1.0), Blinding(efficiency=1.0, both=True), SourceInTheMiddle()):
        assert attack.outcomes(optics()).pairs.weight.sum() <= 1.0 + 1e-12


def test_attacks_by_name(tmp_path: Path) -> None:
    shift = parse_attack("time-shift:fraction=0.25,early=1/0.6/1/0.6")
    assert shift == TimeShift(fraction=0.25, early=(1.0, 0.6, 1.0, 0.6))
    assert parse_attack("blinding:both=true,dead_ns=80") == Blinding(both=True, dead_ns=80.0)
    (tmp_path / "eve.toml").write_text('name = "source-in-the-middle"\nfraction = 0.1\n')
    from_file = parse_attack(str(tmp_path / "eve.toml"))
    assert from_file == SourceInTheMiddle(fraction=0.1)
    assert describe(from_file) == {"name": "source-in-the-middle", "fraction": 0.1, "photons": 2, "z_share": 0.5}
    breidbart = parse_attack("intercept-resend:fraction=1,bases_rad=0.3927/")
    assert breidbart == InterceptResend(1.0, (0.3927,))
    assert at_work(0.5, None) == InterceptResend(0.5)
    assert at_work(0.0, "time-shift") == TimeShift()
    assert at_work(0.0, None) is None
    assert all(describe(parse_attack(f"{name}:fraction=1"))["name"] == name for name in ATTACKS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("laser", "no attack 'laser'"),
        ("time-shift:fraction=2", "fraction = 2.0"),
        ("time-shift:colour=red", "colour"),
        ("blinding:fraction", "no key=value"),
        ("blinding:fraction=0.5,dead_ns=10", "dead_ns"),
        ("missing.toml", "missing.toml"),
    ],
)
def test_impossible_attacks_are_refused(text: str, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        parse_attack(text)


def test_one_eavesdropper_at_a_time() -> None:
    with pytest.raises(ParameterError, match="at once"):
        at_work(0.5, "blinding")


def test_a_factor_for_every_detector() -> None:
    with pytest.raises(ParameterError, match="3 efficiency factors for 4 detectors"):
        TimeShift(early=(1.0, 1.0, 1.0)).outcomes(optics())


def test_her_dead_time_is_one_for_the_whole_station() -> None:
    link = load_scenario("metro")
    assert link_under(TimeShift(), link) is link
    changed = link_under(Blinding(dead_ns=80.0), link)
    assert changed.bob.detectors.mutes_station
    assert changed.bob.detectors.dead_ns == 80.0
    assert changed.alice == link.alice
