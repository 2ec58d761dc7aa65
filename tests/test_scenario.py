"""Scenario files: what is shipped loads, and what is wrong is named with its file and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from distribution.detector import per_detector
from distribution.errors import ParameterError
from distribution.model import link_model
from distribution.scenario import load_scenario, shipped_scenarios
from distribution.states import Basis, BellState

GOOD = """
title = "t"
source = "s"
[pairs]
pairs_per_s = 1e6
state = "psi-"
[alice]
loss_db = 3
[alice.detectors]
efficiency = [0.1, 0.2, 0.3, 0.4]
dark_cps = 100
[bob.clock]
offset_s = 1.5
"""


def write(folder: Path, text: str) -> Path:
    """A scenario file."""
    path = folder / "link.toml"
    path.write_text(text)
    return path


def test_a_file(tmp_path: Path) -> None:
    scenario = load_scenario(write(tmp_path, GOOD))
    assert scenario.pairs.state is BellState.PSI_MINUS
    assert scenario.alice.efficiencies == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert per_detector(scenario.alice.detectors.dark_cps, 4).tolist() == [100.0] * 4
    assert scenario.bob.clock.offset_ps == 1_500_000_000_000


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("loss_db = 3", "loss_dB = 3", r"link\.toml.*loss_dB.*alice"),
        ("loss_db = 3", "loss_db = -3", r"loss_db = -3\.0 must be in 0\.0 \.\. 200\.0.*alice"),
        ("loss_db = 3", 'loss_db = "3"', r"alice\.loss_db"),
        ("pairs_per_s = 1e6", "", r"pairs_per_s.*pairs"),
        ("pairs_per_s = 1e6", "pairs_per_s = nan", r"pairs_per_s = nan"),
        ("pairs_per_s = 1e6", "pairs_per_s = 1e6\nvisibility_z = 1.01", r"visibility_z = 1\.01"),
        ('"psi-"', '"psi"', r"psi.*pairs\.state"),
        ("0.3, 0.4]", "0.3, 1.4]", r"efficiency = 1\.4.*alice\.detectors"),
        ("0.3, 0.4]", "0.3]", r"detectors\.efficiency has 3 entries for 4.*alice"),
        ("offset_s = 1.5", "offset_s = -1.5", r"offset_s = -1\.5.*bob\.clock"),
        ("[pairs]", "[pairs", "not TOML"),
        ('source = "s"', 'source = "s"\n[extra]', "extra"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    with pytest.raises(ParameterError, match=named):
        load_scenario(write(tmp_path, GOOD.replace(old, new)))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ParameterError, match="no scenario nowhere") as caught:
        load_scenario("nowhere")
    assert "metro" in caught.value.hint


@pytest.mark.parametrize("name", ["metro", "edinburgh-36db", "lab-six-detectors-pulsed"])
def test_shipped_scenarios_load_and_say_where_they_come_from(name: str) -> None:
    assert name in shipped_scenarios()
    assert load_scenario(name).source


def test_metro_is_what_demonstrations_need() -> None:
    scenario = load_scenario("metro")
    model = link_model(scenario)
    assert scenario.alice.efficiencies.mean() * 10**-0.6 == pytest.approx(0.2, abs=0.005)
    assert 0.015 < model.qber(1000, Basis.Z) < 0.025
    assert 0.015 < model.qber(1000, Basis.X) < 0.025
    assert scenario.bob.clock.offset_s == 0.137


def test_extra_loss_changes_one_arm_and_no_noise() -> None:
    before, after = (load_scenario("edinburgh-36db") for _ in range(2))
    after = after.with_extra_loss(bob_db=10.0)
    assert after.bob.loss_db == pytest.approx(before.bob.loss_db + 10.0)
    assert link_model(after).pair_cps == pytest.approx(link_model(before).pair_cps / 10)
    assert after.alice == before.alice
    assert after.bob.detectors == before.bob.detectors
