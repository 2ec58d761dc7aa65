"""`qkd simulate` as a user meets it: files, streams, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from distribution.formats.generic import read_npz
from distribution.formats.s15 import read_a1
from distribution.scenario import load_scenario
from distribution.simulate import simulate

SECONDS = "0.05"


def qkd(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "simulate", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[1],
        timeout=120,
    )


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a recording of seed 7."""
    out = tmp_path_factory.mktemp("rec") / "deep" / "er"
    done = qkd("metro", "--out", out, "--seconds", SECONDS, "--seed", "7", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["schema"] == "qkd.simulate.v1"
    assert done.stderr == ""
    return out


def test_files_hold_the_simulation(recorded: Path) -> None:
    assert sorted(path.name for path in recorded.iterdir()) == ["alice.a1.ts", "bob.a1.ts", "truth.json"]
    expected = simulate(load_scenario("metro"), float(SECONDS), np.random.default_rng(7))
    for name, tags in (("alice", expected.alice), ("bob", expected.bob)):
        read = read_a1(recorded / f"{name}.a1.ts").tags
        assert len(read) == len(tags)
        # An a1 word counts 1/256 ns: half a unit of rounding, and one ps of going there and back.
        assert np.abs(np.sort(read.t_ps) - tags.t_ps).max() <= 3
        assert read.counts() == tags.counts()


def test_truth(recorded: Path) -> None:
    truth = json.loads((recorded / "truth.json").read_text())
    assert truth["schema"] == "qkd.truth.v1"
    assert (truth["seed"], truth["offset_ps"], truth["drift_ppm"]) == (7, 137_000_000_000, 3.1)
    assert truth["events_alice"] == len(read_a1(recorded / "alice.a1.ts").tags)
    assert 0.01 < truth["expected_qber_z"] < 0.03


def test_refuses_to_overwrite_until_forced(recorded: Path) -> None:
    before = (recorded / "alice.a1.ts").read_bytes()
    refused = qkd("metro", "--out", recorded, "--seconds", SECONDS, "--seed", "8")
    assert refused.returncode == 2
    assert "exists already" in refused.stderr
    assert "--force" in refused.stderr
    assert (recorded / "alice.a1.ts").read_bytes() == before
    again = qkd("metro", "--out", recorded, "--seconds", SECONDS, "--seed", "7", "--force")
    assert again.returncode == 0
    assert (recorded / "alice.a1.ts").read_bytes() == before


def test_a_drawn_seed_is_printed_and_repeats(tmp_path: Path) -> None:
    first = qkd("metro", "--out", tmp_path / "a", "--seconds", "0.002")
    assert first.returncode == 0
    seed = first.stderr.strip().removeprefix("qkd: seed ")
    assert seed.isdigit()
    qkd("metro", "--out", tmp_path / "b", "--seconds", "0.002", "--seed", seed)
    assert (tmp_path / "a" / "bob.a1.ts").read_bytes() == (tmp_path / "b" / "bob.a1.ts").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nowhere"], "no scenario nowhere"),
        (["metro", "--seconds", "0"], "--seconds"),
        (["metro", "--intercept", "1.1"], "--intercept"),
        (["metro", "--seconds", "1e6"], "events"),
    ],
)
def test_usage_errors_leave_nothing_behind(tmp_path: Path, arguments: list[str], named: str) -> None:
    done = qkd(*arguments, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert named in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()


def test_more_than_four_channels_need_another_format(tmp_path: Path) -> None:
    scenario = "lab-six-detectors-pulsed"
    refused = qkd(scenario, "--out", tmp_path / "out", "--seconds", SECONDS)
    assert refused.returncode == 2
    assert "--format npz" in refused.stderr
    done = qkd(scenario, "--out", tmp_path / "out", "--seconds", SECONDS, "--seed", "3", "--format", "npz", "--json")
    truth = json.loads(done.stdout)
    assert set(read_npz(tmp_path / "out" / "alice.npz").tags.counts()) == set(range(6))
    assert truth["afterpulses_bob"] > 0
    assert truth["lost_in_tagger_alice"] == 0
