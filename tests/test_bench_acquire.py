"""`qkd bench acquire`: its table, what it counts as wrong, and its command."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cli.bench.acquire import command
from distribution.clock import Acquisition, ClockModel, KnownClock, trials
from qkd.benchmarks import acquire
from qkd.errors import ParameterError
from tests.reference.orbit import light_time_ps
from tests.test_clock import compiled


def test_the_table_has_the_cases_of_the_claims() -> None:
    names = [case.name for case in acquire.CASES]
    assert len(set(names)) == len(names)
    assert acquire.HEADLINE in names
    assert {(c.pairs_per_s, c.drift_ppm, c.uncertainty_s) for c in acquire.CASES} >= {
        (1e4, 10.0, 1.0),
        (1e4, 10.0, 10.0),
        (500.0, 5.0, 1.0),
        (100.0, 1.0, 1.0),
    }


def test_the_orbit_is_that_of_the_geometry() -> None:
    t = np.linspace(-300.0, 300.0, 61)
    assert trials.orbit_delay_ps(t, 0.0) == pytest.approx(light_time_ps(t), abs=1.0)


@pytest.mark.parametrize("case", [acquire.CASES[0], acquire.CASES[5], acquire.CASES[8]], ids=lambda c: c.name)
def test_streams_have_the_rates_and_the_delay_that_they_state(case: trials.Case) -> None:
    s = trials.drawn(case, 1)
    for t_ps, rate in ((s.a_ps, case.singles_a), (s.b_ps, case.singles_b)):
        expected = rate * case.seconds
        assert abs(t_ps.size - expected) < 5 * expected**0.5
        assert (np.diff(t_ps) >= 0).all()
    a_s = (s.a_ps - 100 * 10**12) / 1e12
    due = s.a_ps + np.rint(s.delay_ps(a_s)).astype(np.int64)
    near = np.searchsorted(s.b_ps, due + 700) - np.searchsorted(s.b_ps, due - 700)
    pairs = case.pairs_per_s * case.seconds
    accidental = case.singles_a * case.singles_b * 1400e-12 * case.seconds
    # 700 ps are 3.3 standard deviations of 150 ps on either side.
    assert abs(near.sum() - accidental - 0.999 * pairs) < 5 * (pairs + accidental) ** 0.5


@pytest.mark.parametrize(("off_ps", "drift_off"), [(1_500.0, 0.0), (0.0, 2e-8)])
def test_a_confident_answer_elsewhere_counts_as_wrong(
    monkeypatch: pytest.MonkeyPatch, off_ps: float, drift_off: float
) -> None:
    case = acquire.CASES[5]
    streams = trials.drawn(case, 1)

    def answer(*_: object, **__: object) -> Acquisition:
        at = np.array([0.0, 1.0])
        offset, later = streams.delay_ps(at)
        drift = (later - offset) * 1e-12 + drift_off
        model = ClockModel(reference_ps=100 * 10**12, offset_ps=round(offset + off_ps), drift=float(drift))
        errors = {"offset_error_ps": 1.0, "drift_error": 1e-12, "acceleration_error_per_s": 1e-12}
        start = KnownClock(model=model, **errors)
        return Acquisition(
            model=model, **errors, start=start, false_alarm=1e-50, pairs=1000, spread_ps=212.0, seconds_used=4.0
        )

    monkeypatch.setattr(acquire, "acquire", answer)
    (row,) = acquire.run(seeds=1, case=case.name).rows
    assert (row.details["found"], row.details["wrong"]) == (0, 1)


@compiled
def test_command_measures_a_case_beside_a_reference(tmp_path: Path) -> None:
    """A stand-in for fpfind reads both files and answers nonsense: timed, and not counted as right."""
    stand_in = tmp_path / "fpfind"
    stand_in.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        "sizes = [len(open(sys.argv[sys.argv.index(f) + 1], 'rb').read()) for f in ('-t', '-T')]\n"
        "assert min(sizes) > 8 * 40000\n"
        "print('1e-6\\t123')\n"
    )
    stand_in.chmod(0o700)
    arguments = ["--case", "100k/11k", "--seeds", "1", "--fpfind", str(stand_in), "--json"]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    answer = json.loads(result.stdout)
    (row,) = answer["rows"]
    assert answer["schema"] == "qkd.bench.acquire.v1"
    assert answer["seconds"] == row["value"] > 0
    assert row["reference"] > 0
    assert row["reference_found"] is False
    assert (row["found"], row["of"], row["wrong"]) == (1, 1, 0)
    assert row["offset_rms_ps"] < 5 * 212 / 4000**0.5


def test_an_unknown_case_is_a_usage_error() -> None:
    with pytest.raises(ParameterError, match="nothing to measure"):
        acquire.run(case="no such case")
