"""`qkd analyse --chsh` on tags of E91 and of BBM92 stations, with and without an eavesdropper, and
`qkd device-independent`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from cli.main import main
from distribution.analyser import Analyser, Setting
from distribution.correlators import bell_test
from distribution.detector import Detectors
from distribution.eavesdroppers.intercept import InterceptResend
from distribution.formats import generic
from distribution.outcomes import Eavesdropper
from distribution.scenario import Scenario, Station
from distribution.simulate import simulate
from distribution.source import PairSource
from distribution.states import BellState
from distribution.tags import TimeTags

EKERT = ((0.0, 22.5, 45.0), (22.5, 45.0, 67.5))
BBM92_A, BBM92_B = "0,90,45,135", "22.5,112.5,67.5,157.5"


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, args)])


def chsh(*args: str | Path) -> dict[str, Any]:
    done = run("analyse", *args, "--chsh", "--json")
    assert done.exit_code == 0, done.output
    fields: dict[str, Any] = json.loads(done.stdout)
    return fields


def recorded(
    folder: Path,
    angles: tuple[tuple[float, ...], ...],
    seed: int,
    eve: Eavesdropper | None = None,
    *,
    state: str = "phi+",
    seconds: float = 1.0,
) -> tuple[Path, Path]:
    """Tags of 1e5 pairs a second of visibility 0.97, passive analysers of even shares, a quarter of photons seen."""
    alice, bob = (
        Station(
            loss_db=3.0,
            detectors=Detectors(efficiency=0.5, dark_cps=100.0),
            analyser=Analyser(settings=tuple(Setting(share=1 / len(side), angle_deg=a) for a in side)),
        )
        for side in angles
    )
    source = PairSource(pairs_per_s=1e5, visibility_z=0.97, visibility_x=0.97, state=BellState(state))
    link = Scenario(title="bell", source="round numbers", pairs=source, alice=alice, bob=bob)
    made = simulate(link, seconds, np.random.default_rng(seed), eve)
    for name, tags in (("a", made.alice), ("b", made.bob)):
        generic.write_npz(folder / name, tags)
    return folder / "a", folder / "b"


@pytest.mark.parametrize("state", ["phi+", "psi-"])
def test_e91_tags_need_no_angles(tmp_path: Path, state: str) -> None:
    """Six detectors a side are Ekert's: S = 2 sqrt2 0.97 within five errors, seed 31, 2752 pairs in the test."""
    fields = chsh(*recorded(tmp_path, EKERT, 31, state=state), "--state", state)
    found = fields["chsh"]
    assert fields["chsh_s"] == found["s"] == pytest.approx(2.744, abs=5 * found["s_error"])
    assert fields["chsh_s_error"] == found["s_error"]
    assert fields["chsh_p_value"] == found["p_value"] < 1e-15
    assert found["log10_p_value"] == pytest.approx(math.log10(found["p_value"]))
    assert (found["angles_a_deg"], found["angles_b_deg"]) == ([0.0, 45.0], [22.5, 67.5])
    assert found["predicted"] == pytest.approx(2 * math.sqrt(2))
    outcomes = np.array(fields["outcomes"])
    assert found["trials"] == outcomes[np.ix_([0, 1, 4, 5], [0, 1, 4, 5])].sum()
    assert found["setting_shares"]["source"] == "counted"
    assert found["local_win"] >= 0.75
    assert found["interval_iid"]["low"] < found["s"] < found["interval_iid"]["high"]
    assert found["interval_memory"]["low"] > 2.0
    for check in (found["no_signalling"], found["settings_check"]):
        assert check["p_value"] > 1e-5
    assert found["label"] == "device-dependent (fair sampling assumed)"
    assert [row["open"] for row in found["loopholes"]] == [True] * 4
    matched = found["matched"]
    assert [(row["angle_a_deg"], row["angle_b_deg"]) for row in matched] == [(22.5, 22.5), (45.0, 45.0)]
    for row in matched:
        assert row["qber"] == pytest.approx(0.015, abs=5 * row["qber_error"])


def test_three_settings_against_two_need_no_angles(tmp_path: Path) -> None:
    """Six detectors against four are those of Acin et al. 2007: key at 0, 0, test at +-22.5 against 0, 45; seed 38."""
    found = chsh(*recorded(tmp_path, ((0.0, 22.5, -22.5), (0.0, 45.0)), 38))["chsh"]
    assert found["s"] == pytest.approx(2.744, abs=5 * found["s_error"])
    assert (found["angles_a_deg"], found["angles_b_deg"]) == ([22.5, -22.5], [0.0, 45.0])
    (row,) = found["matched"]
    assert (row["angle_a_deg"], row["angle_b_deg"]) == (0.0, 0.0)
    assert row["qber"] == pytest.approx(0.015, abs=5 * row["qber_error"])


def test_an_eavesdropper_lowers_s_and_raises_the_qber(tmp_path: Path) -> None:
    """Intercept-resend of every photon in Z or X: S = sqrt2 0.97, no violation, a quarter of errors or so; seed 32."""
    found = chsh(*recorded(tmp_path, EKERT, 32, InterceptResend(1.0)))["chsh"]
    assert found["s"] == pytest.approx(math.sqrt(2) * 0.97, abs=5 * found["s_error"])
    assert found["p_value"] == found["betting_p_value"] == 1.0
    assert found["interval_memory"]["high"] < 2.0
    for row in found["matched"]:
        assert row["qber"] == pytest.approx(0.26, abs=0.01 + 5 * row["qber_error"])


def test_four_detectors_with_angles(tmp_path: Path) -> None:
    """BBM92 tags whose angles make a Bell test; declared settings with predictability; seed 33."""
    stations = recorded(tmp_path, ((0.0, 45.0), (22.5, 67.5)), 33)
    angles = ("--angles-a", BBM92_A, "--angles-b", BBM92_B)
    counted, declared, guessed = (
        chsh(*stations, *angles, *tau)["chsh"] for tau in ((), ("--predictability", "0"), ("--predictability", "0.05"))
    )
    assert declared["setting_shares"] == {"a": 0.5, "b": 0.5, "source": "declared"}
    assert (declared["local_win"], guessed["local_win"]) == (0.75, pytest.approx(0.7975))
    assert declared["log10_p_value"] < counted["log10_p_value"] < 0
    assert declared["log10_p_value"] < guessed["log10_p_value"] < 0
    assert declared["s"] == counted["s"] == guessed["s"]
    assert declared["settings_check"]["degrees"] == 3
    assert declared["matched"] == []


def test_people_see_the_test_and_its_loopholes(tmp_path: Path) -> None:
    stations = recorded(tmp_path, EKERT, 34)
    done = run("analyse", *stations, "--chsh")
    assert done.exit_code == 0, done.output
    for words in (
        "CHSH S", "+ E(0, 22.5)", "- E(0, 67.5)", "p-value", "whenever one stops", "Clopper-Pearson", "Azuma",
        "no-signalling", "QBER at 22.5, 22.5", "loophole: fair sampling", "loophole: locality",
        "loophole: freedom of choice", "loophole: coincidence time", "below the limits 66.7%", "device-dependent",
    ):  # fmt: skip
        assert words in done.stdout
    plain = run("analyse", *stations)
    assert "loophole" not in plain.stdout
    assert "chsh_p_value" not in json.loads(run("analyse", *stations, "--json").stdout)


def test_angles_without_a_bell_test_are_refused(tmp_path: Path) -> None:
    """H, V, D, A on both sides, as on every BBM92 link: S is at most 2 for any state."""
    assert bell_test((0, 90, 45, 135), (0, 90, 45, 135), BellState.PHI_PLUS) is None
    a, b = recorded(tmp_path, ((0.0, 45.0), (0.0, 45.0)), 35, seconds=0.5)
    for angles in ((), ("--angles-a", BBM92_A, "--angles-b", BBM92_A)):
        done = run("analyse", a, b, "--chsh", *angles)
        assert (done.exit_code, done.stdout) == (2, "")
        assert "make no Bell test" in done.stderr
        assert "22.5,112.5,67.5,157.5" in done.stderr
    six = run("analyse", a, b, "--chsh", "--angles-a", "0,90,22.5,112.5,45,135", "--angles-b", BBM92_B)
    assert (six.exit_code, six.stdout) == (2, "")
    assert "each of the 6 detectors of A and 4 of B" in six.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--chsh", "--predictability", "0.5"), "predictability"),
        (("--chsh", "--predictability", "-0.1"), "predictability"),
        (("--chsh", "--predictability", "nan"), "predictability"),
        (("--predictability", "0.1"), "give --chsh, too"),
    ],
)
def test_options_that_cannot_be(tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    stations = recorded(tmp_path, EKERT, 36, seconds=0.3)
    done = run("analyse", *stations, *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr


def test_a_pair_of_settings_without_coincidences_is_refused(tmp_path: Path) -> None:
    """Setting b1 only where Alice has a0: all eight detectors click, but (a1, b1) never meet."""
    rng = np.random.default_rng(37)
    t = np.sort(rng.integers(0, 10**12, 20_000))
    basis_a, basis_b, bit = rng.integers(0, 2, (3, t.size))
    basis_b &= 1 - basis_a
    lonely = rng.random(t.size) < 0.2  # what only one side sees
    channels = (2 * basis_a + bit).astype(np.uint8), (2 * basis_b + bit).astype(np.uint8)
    generic.write_npz(tmp_path / "a", TimeTags(t + 10**12, channels[0]))
    generic.write_npz(tmp_path / "b", TimeTags(t[~lonely] + 10**12, channels[1][~lonely]))
    done = run("analyse", tmp_path / "a", tmp_path / "b", "--chsh", "--angles-a", BBM92_A, "--angles-b", BBM92_B)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "no counts at settings (a1, b1)" in done.stderr


def test_chsh_of_one_recording_is_refused(tmp_path: Path) -> None:
    generic.write_npz(tmp_path / "a", TimeTags(np.arange(100, dtype=np.int64) * 10**6, np.zeros(100, np.uint8)))
    done = run("analyse", tmp_path / "a", "--chsh")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--chsh needs two recordings" in done.stderr


def test_device_independent_rates() -> None:
    """Nadlinger et al. 2022: 0.58341."""
    done = run("device-independent", "--s", "2.677", "--qber", "0.0144", "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    fields = json.loads(done.stdout)
    assert fields["schema"] == "qkd.device-independent.v1"
    assert fields["rate"] == pytest.approx(0.58341, abs=5e-6)
    assert fields["entropy"] == pytest.approx(0.69214, abs=5e-6)
    assert fields["label"] == "collective attacks, asymptotic"
    assert "pairs" not in fields


def test_device_independent_finite_runs() -> None:
    """305 000 bits of 3e6 pairs in the reference's table; none of 1e6, exit code 6 and the least run."""
    done = run("device-independent", "--s", "2.677", "--qber", "0.0144", "--pairs", "3000000", "--json")
    fields = json.loads(done.stdout)
    assert fields["secret_bits"] == pytest.approx(305e3, rel=0.03)
    assert fields["finite_label"] == "entropy accumulation (device-independent, simulation only)"
    assert (fields["eps"], fields["pairs"]) == (1e-10, 3_000_000)
    assert 1.5e6 < fields["least_pairs"] < 1.9e6
    short = run("device-independent", "--s", "2.677", "--qber", "0.0144", "--pairs", "1000000", "--json")
    assert short.exit_code == 6
    fields = json.loads(short.stdout)
    assert fields["secret_bits"] == 0
    assert fields["test_share"] is None
    assert f"it takes about {fields['least_pairs']}" in short.stderr


def test_people_see_labels_and_limits() -> None:
    done = run("device-independent", "--s", "2.677", "--qber", "0.0144", "--pairs", "10000000")
    assert done.exit_code == 0
    for words in ("0.58341", "collective attacks, asymptotic", "simulation only", "least run"):
        assert words in done.stdout
    assert "above 2 sqrt(2)" in run("device-independent", "--s", "2.9", "--qber", "0.01").stdout
    assert "violates nothing" in run("device-independent", "--s", "1.9", "--qber", "0.01").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        "--s 4.5 --qber 0.01",
        "--s nan --qber 0.01",
        "--s 2.5 --qber 0.6",
        "--s 2.5 --qber -0.1",
        "--s 2.5 --qber 0.01 --pairs 0",
        "--s 2.5 --qber 0.01 --pairs 1000 --eps 0",
        "--s 2.5 --qber 0.01 --eps 1e-10",
    ],
)
def test_device_independent_figures_that_cannot_be(arguments: str) -> None:
    done = run("device-independent", *arguments.split())
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("qkd: ")
