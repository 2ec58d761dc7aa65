"""Whatever the link, an eavesdropper makes probabilities, and nothing done to Bob's photon shows at Alice's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distribution.eavesdroppers.blinding import Blinding
from distribution.eavesdroppers.intercept import InterceptResend
from distribution.eavesdroppers.middle import SourceInTheMiddle
from distribution.eavesdroppers.named import Attack
from distribution.eavesdroppers.timeshift import TimeShift
from distribution.outcomes import LinkOptics, Nobody, OutcomeSet, SideOptics
from distribution.twoqubit import TwoQubit, linear

chances = st.floats(0.0, 1.0)


@st.composite
def sides(draw: st.DrawFn) -> SideOptics:
    share = draw(chances)
    angles = [draw(st.floats(-90.0, 90.0)) for _ in range(2)]
    return SideOptics(
        np.array([share, 1.0 - share]),
        np.array([linear(np.radians(a), 0.1) for a in angles]),
        np.array([draw(chances) for _ in range(4)]),
        np.array([draw(st.floats(0.0, 1e4)) for _ in range(4)]),
    )


@st.composite
def states(draw: st.DrawFn) -> TwoQubit:
    """Any pure state of two qubits, mixed with noise."""
    part = st.floats(-1.0, 1.0)
    vector = np.array([complex(draw(part), draw(part)) for _ in range(4)])
    vector = vector / np.linalg.norm(vector) if np.linalg.norm(vector) > 0.1 else np.array([1, 0, 0, 1]) / np.sqrt(2)
    noise = draw(chances)
    return TwoQubit.from_density((1.0 - noise) * np.outer(vector, vector.conj()) + noise * np.eye(4) / 4.0)


attacks_on_bob = st.one_of(
    st.builds(InterceptResend, chances, st.lists(st.floats(0.0, 3.0), min_size=1, max_size=3).map(tuple)),
    st.builds(
        TimeShift,
        fraction=chances,
        early=st.lists(chances, min_size=4, max_size=4).map(tuple),
        late=st.lists(chances, min_size=4, max_size=4).map(tuple),
    ),
    st.builds(Blinding, fraction=chances, efficiency=chances, z_share=chances, double_share=chances),
)
attacks_on_both = st.one_of(
    st.builds(SourceInTheMiddle, fraction=chances, photons=st.integers(1, 2), z_share=chances),
    st.builds(Blinding, fraction=chances, efficiency=chances, z_share=chances, both=st.just(True)),
)


def alice_clicks(outcomes: OutcomeSet) -> np.ndarray:
    clicks = np.zeros(256)
    np.add.at(clicks, outcomes.alice.reshape(-1), np.repeat(outcomes.weight, 2))
    return clicks[:4]


@settings(deadline=None, max_examples=150)
@given(states(), sides(), sides(), st.one_of(attacks_on_bob, attacks_on_both))
def test_outcomes_of_an_emission_are_probabilities(
    state: TwoQubit, alice: SideOptics, bob: SideOptics, attack: Attack
) -> None:
    found = attack.outcomes(LinkOptics(state, alice, bob))
    assert found.pairs.weight.min() >= 0.0
    assert found.pairs.weight.sum() <= 1.0 + 1e-9
    assert found.noise.weight.sum() <= alice.noise_cps.sum() + bob.noise_cps.sum() + 1e-6


@settings(deadline=None, max_examples=150)
@given(states(), sides(), sides(), attacks_on_bob)
def test_alice_sees_nothing_of_what_is_done_to_bobs_photon(
    state: TwoQubit, alice: SideOptics, bob: SideOptics, attack: Attack
) -> None:
    link = LinkOptics(state, alice, bob)
    honest = alice_clicks(Nobody().outcomes(link).pairs)
    assert alice_clicks(attack.outcomes(link).pairs) == pytest.approx(honest, abs=1e-9)
