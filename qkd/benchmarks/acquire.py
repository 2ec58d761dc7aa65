"""How fast, how well and how surely two unknown clocks are found, over a table of rates, drifts and ranges.

Every seed draws its own streams, offset and drift, within the range that the search is told. An answer counts as found
if it lies within 1 ns and 10 ppb of the truth, as wrong if it lies elsewhere: no error message, however late, is as bad
as a confident wrong clock. The reference is fpfind, a program of its own, on the first seed's streams in files.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distribution.clock import Acquisition, acquire
from distribution.clock.trials import ORIGIN_PS, Case, Streams, drawn
from distribution.errors import ClockNotFound
from distribution.formats.s15 import write_a1
from distribution.tags import TimeTags
from distribution.units import PS_PER_S, seconds_to_ps
from qkd.benchmarks.result import Result, Row
from qkd.errors import ParameterError

_RIGHT_PS, _RIGHT_DRIFT = 1_000.0, 1e-8
_FPFIND_LIMIT_S = 60.0
# Buffers and separation that suit recordings of a few seconds; its defaults want longer ones.
_FPFIND_OPTIONS = ("-q", "23", "-R", "128", "-s", "3")


HEADLINE = "100k/100k 1e4/s 10 ppm"
CASES = (
    Case(name="100k/100k 1e4/s 1 ppm", singles_a=1e5, singles_b=1e5, pairs_per_s=1e4, drift_ppm=1.0),
    Case(name=HEADLINE, singles_a=1e5, singles_b=1e5, pairs_per_s=1e4, drift_ppm=10.0),
    Case(name="100k/100k 1e4/s 100 ppm", singles_a=1e5, singles_b=1e5, pairs_per_s=1e4, drift_ppm=100.0),
    Case(
        name="100k/100k 1e4/s 10 ppm +-10 s",
        singles_a=1e5,
        singles_b=1e5,
        pairs_per_s=1e4,
        drift_ppm=10.0,
        uncertainty_s=10.0,
        seconds=24.0,
    ),
    Case(name="1M/1M 1e5/s 20 ppm", singles_a=1e6, singles_b=1e6, pairs_per_s=1e5, drift_ppm=20.0),
    Case(name="100k/11k 1000/s 10 ppm", singles_a=1e5, singles_b=1.1e4, pairs_per_s=1e3, drift_ppm=10.0),
    Case(name="500k/6k 500/s 5 ppm", singles_a=5e5, singles_b=6e3, pairs_per_s=500.0, drift_ppm=5.0, seconds=8.0),
    Case(name="200k/1.5k 100/s 1 ppm", singles_a=2e5, singles_b=1.5e3, pairs_per_s=100.0, drift_ppm=1.0, seconds=8.0),
    Case(
        name="satellite 100k/20k 1000/s",
        singles_a=1e5,
        singles_b=2e4,
        pairs_per_s=1e3,
        drift_ppm=30.0,
        seconds=6.0,
        orbit=True,
    ),
    Case(name="no pairs 100k/100k 10 ppm", singles_a=1e5, singles_b=1e5, pairs_per_s=0.0, drift_ppm=10.0),
)


@dataclass(frozen=True, slots=True)
class _Trial:
    wall_s: float
    cpu_s: float
    answered: bool
    offset_error_ps: float = 0.0
    drift_error: float = 0.0

    @property
    def right(self) -> bool:
        return self.answered and abs(self.offset_error_ps) < _RIGHT_PS and abs(self.drift_error) < _RIGHT_DRIFT


def run(*, seeds: int = 3, case: str | None = None, fpfind: str | None = None, seed: int = 1) -> Result:
    """Measure the table.

    Args:
        seeds: recordings per case, each with its own clock.
        case: measure only the cases whose name contains this.
        fpfind: the program to compare with, or None.
        seed: of the first recording.

    Raises:
        ParameterError: no such case, or no seeds.
    """
    chosen = [c for c in CASES if case is None or case in c.name]
    if not chosen or seeds < 1:
        raise ParameterError(
            f"--case {case!r}, --seeds {seeds}: nothing to measure",
            hint="cases: " + "; ".join(c.name for c in CASES),
        )
    warm = drawn(CASES[1], seed)
    acquire(warm.a_ps, warm.b_ps)  # compiles
    rows = tuple(_measured(c, seeds, seed, fpfind) for c in chosen)
    headline = next((row for row in rows if row.case == HEADLINE), rows[0])
    return Result(headline={"seconds": headline.value}, rows=rows)


def _measured(case: Case, seeds: int, seed: int, fpfind: str | None) -> Row:
    trials = [_trial(case, drawn(case, seed + n)) for n in range(seeds)]
    right = [t for t in trials if t.right]
    details = {
        "found": len(right),
        "of": seeds,
        "wrong": sum(t.answered and not t.right for t in trials),
        "offset_rms_ps": _rms([t.offset_error_ps for t in right]),
        "drift_rms_ppb": _rms([t.drift_error * 1e9 for t in right]),
        "max_seconds": max(t.wall_s for t in trials),
        "cpu_seconds": statistics.median(t.cpu_s for t in trials),
        "max_cpu_seconds": max(t.cpu_s for t in trials),
    }
    reference = None
    if fpfind is not None:
        reference, details["reference_found"] = _by_fpfind(fpfind, case, drawn(case, seed))
    return Row(
        case=case.name,
        value=statistics.median(t.wall_s for t in trials),
        unit="s",
        reference=reference,
        against="fpfind" if fpfind else "",
        details=details,
    )


def _rms(values: list[float]) -> float | None:
    return float(np.sqrt(np.mean(np.square(values)))) if values else None


def _trial(case: Case, streams: Streams) -> _Trial:
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        found = acquire(streams.a_ps, streams.b_ps, uncertainty_s=case.uncertainty_s, max_drift_ppm=case.drift_ppm)
    except ClockNotFound:
        found = None
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if found is None:
        return _Trial(wall, cpu, False)
    if not case.pairs_per_s:
        return _Trial(wall, cpu, True, np.inf, np.inf)
    return _Trial(wall, cpu, True, *_errors(found, streams))


def _errors(found: Acquisition, streams: Streams) -> tuple[float, float]:
    """(ps, dimensionless) at the model's reference."""
    model = found.model
    at_s = np.array([model.reference_ps - ORIGIN_PS]) / PS_PER_S
    step_s = 0.01
    slope = (streams.delay_ps(at_s + step_s) - streams.delay_ps(at_s - step_s)) / (2.0 * step_s * PS_PER_S)
    offset_ps = model.offset_ps - float(streams.delay_ps(at_s)[0]) + model.offset_fraction_ps
    return offset_ps, model.drift - float(slope[0])


def _by_fpfind(program: str, case: Case, streams: Streams) -> tuple[float | None, bool]:
    """(wall seconds, or None if it gave no answer; whether the answer is right to 100 ns and 10 ppb)."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("alice.a1", "bob.a1")]
        for path, t_ps in zip(paths, (streams.a_ps, streams.b_ps), strict=True):
            write_a1(path, TimeTags(t_ps, np.zeros(t_ps.size, np.uint8)))
        command = [program, "-t", str(paths[0]), "-T", str(paths[1]), *_FPFIND_OPTIONS]
        command += ["--max-dt", str(seconds_to_ps(case.uncertainty_s) // 1000), "--max-df", f"{case.drift_ppm * 1e-6}"]
        begin = time.perf_counter()
        try:
            done = subprocess.run(  # noqa: S603 (the user names the program)
                command, capture_output=True, text=True, timeout=_FPFIND_LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return None, False
        seconds = time.perf_counter() - begin
    answer = done.stdout.split()
    if done.returncode or len(answer) < 2:
        return None, False
    # It states (drift, offset in ns) at the common beginning.
    at_s = np.array([max(streams.a_ps[0], streams.b_ps[0]) - ORIGIN_PS]) / PS_PER_S
    truth_ns = float(streams.delay_ps(at_s)[0]) / 1e3
    slope = float((streams.delay_ps(at_s + 1.0) - streams.delay_ps(at_s))[0]) / PS_PER_S
    right = abs(float(answer[1]) - truth_ns) < 100.0 and abs(float(answer[0]) - slope) < _RIGHT_DRIFT
    return seconds, bool(right and case.pairs_per_s)
