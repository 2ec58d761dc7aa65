"""The study of error correction: what is measured, with how many frames, and how its points are kept.

Four kinds of points. CURVE: everything at one error rate. STEPS: f on a fine grid of error rates, with equal random
numbers at all of them, to see whether it jumps. ESTIMATE: a wrong estimate of the error rate. SCALING: two threads
against one. Every point is written as soon as it is there, so a run that is killed loses one.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import qkd
from qkd.benchmarks.batches import Setup
from qkd.benchmarks.methods import all_presets
from qkd.benchmarks.reconcile import Measured, count, measure
from qkd.errors import ParameterError, ReconciliationFailed
from qkd.reconciliation.efficiency import shannon_limit_bits

SCHEMA = "qkd.reconcile.study.v1"
SEED = 2026
TIMED_BATCHES = 5
CASCADE_QBERS = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.025, *(k / 100 for k in range(3, 12)))
LDPC_QBERS = tuple(q for q in CASCADE_QBERS if 0.01 <= q <= 0.10)
GRID_RATIO = 1.02
CASCADE_GRID, LDPC_GRID = (0.005, 0.11), (0.01, 0.10)
ESTIMATE_FACTORS = (0.5, 0.75, 1.5, 2.0)
ESTIMATE_QBERS = (0.01, 0.03, 0.05, 0.08)
SCALING_QBERS = (0.01, 0.03, 0.08)
# 10 000 frames without a failure bound the rate to 3e-4, 3 072 to 9.8e-4, 320 to 1e-2 (95 %).
CLAIMED_1E3 = 10_048


class Kind(Enum):
    """What a point is about; see the module docstring."""

    CURVE = "curve"
    STEPS = "steps"
    ESTIMATE = "estimate"
    SCALING = "scaling"


@dataclass(frozen=True, slots=True)
class Curve:
    """One preset at one frame length, and how much of it is measured.

    Attributes:
        frames: per point of the curve.
        claimed: error rates at which a frame error rate of 1e-3 or less is claimed.
        claimed_frames: per point of these.
        grid_frames: per point of the fine grid; 0 for none.
        estimate_frames: per wrong estimate; 0 for none.
        scaling_frames: for two threads against one; 0 for none.
    """

    method: str
    preset: str
    frame_bits: int
    qbers: tuple[float, ...]
    frames: int
    claimed: tuple[float, ...] = ()
    grid_frames: int = 0
    estimate_frames: int = 0
    scaling_frames: int = 0
    claimed_frames: int = CLAIMED_1E3

    @property
    def name(self) -> str:
        """As --only wants it."""
        return f"{self.method}/{self.preset}"


# The slowest stands last: a study that is stopped early lacks least.
CURVES: tuple[Curve, ...] = (
    Curve("cascade", "fast", 65536, CASCADE_QBERS, 2560, CASCADE_QBERS, 256, 512, 768),
    Curve("cascade", "tight", 65536, CASCADE_QBERS, 2560, CASCADE_QBERS, 256, 512, 768),
    Curve("cascade", "serial", 65536, CASCADE_QBERS, 256, (), 64, 64),
    Curve("cascade", "large", 1 << 20, CASCADE_QBERS, 320),
    Curve("cascade", "fast", 16384, CASCADE_QBERS, 4096),
    Curve("cascade", "tight", 16384, CASCADE_QBERS, 4096),
    Curve("ldpc", "one-way", 65536, LDPC_QBERS, 1536, (), 16, 128, 256),
    Curve("ldpc", "one-way", 16384, LDPC_QBERS, 1024),
    Curve("ldpc", "blind", 16384, LDPC_QBERS, 512),
    Curve("ldpc", "one-way", 262144, LDPC_QBERS, 64),
    Curve("ldpc", "blind", 262144, LDPC_QBERS, 64),
    Curve("ldpc", "blind", 65536, LDPC_QBERS, 512, (0.02, 0.03, 0.05, 0.08), 32, 64, 256, claimed_frames=3_072),
)


@dataclass(frozen=True, slots=True)
class Task:
    """One point to be measured, or for STEPS one grid.

    Attributes:
        setup: what; of STEPS, its error rate is the grid's first.
        grid: error rates of STEPS.
    """

    kind: Kind
    setup: Setup
    grid: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """What it is, in a line; frames and seed are left out, so that a better point replaces a worse one."""
        setup = self.setup
        where = f"{setup.qber:.4g}" + (f"..{self.grid[-1]:.4g}" if self.grid else "")
        factor = f" estimate x{setup.estimate_factor:g}" if setup.estimate_factor != 1 else ""
        return f"{self.kind.value} {setup.method}/{setup.preset} {setup.frame_bits} q={where}{factor}"


def plan(*, only: str | None = None, quick: bool = False) -> list[Task]:
    """All points, the curves first, of the presets that this installation has.

    Args:
        only: METHOD/PRESET.
        quick: one batch a point, five error rates, a coarse grid: minutes, to see that everything works.

    Raises:
        ParameterError: `only` names no preset.
    """
    present = {f"{method}/{preset}" for method, preset in all_presets()}
    if only is not None and only not in present:
        raise ParameterError(f"--only {only}: no such preset", hint=f"one of {', '.join(sorted(present))}")
    curves = [curve for curve in CURVES if curve.name in ({only} if only else present)]
    if quick:
        curves = [_quick(curve) for curve in curves]
    makers = (_curve_tasks, _scaling_tasks, _estimate_tasks, _steps_tasks)
    return [task for make in makers for curve in curves for task in make(curve, quick)]


def _quick(curve: Curve) -> Curve:
    batch = _setup(curve, 0.01, 1).batch_frames
    few = tuple(q for q in curve.qbers if q in (0.005, 0.01, 0.03, 0.05, 0.08, 0.11))
    grid, estimate = (min(frames, batch) for frames in (curve.grid_frames, curve.estimate_frames))
    scaling = min(curve.scaling_frames, 4 * batch)
    return replace(
        curve,
        qbers=few,
        frames=batch,
        claimed=(),
        grid_frames=grid,
        estimate_frames=estimate,
        scaling_frames=scaling,
    )


def _setup(curve: Curve, qber: float, frames: int, factor: float = 1.0, threads: int = 1) -> Setup:
    return Setup(
        method=curve.method,
        preset=curve.preset,
        qber=qber,
        frame_bits=curve.frame_bits,
        frames=frames,
        seed=SEED,
        estimate_factor=factor,
        threads=threads,
    )


def _curve_tasks(curve: Curve, _quick: bool) -> Iterator[Task]:
    for qber in curve.qbers:
        yield Task(Kind.CURVE, _setup(curve, qber, curve.claimed_frames if qber in curve.claimed else curve.frames))


def _scaling_tasks(curve: Curve, quick: bool) -> Iterator[Task]:
    for qber in SCALING_QBERS[: 1 if quick else None] if curve.scaling_frames else ():
        yield Task(Kind.SCALING, _setup(curve, qber, curve.scaling_frames, threads=2))


def _estimate_tasks(curve: Curve, _quick: bool) -> Iterator[Task]:
    for qber, factor in itertools.product(ESTIMATE_QBERS, ESTIMATE_FACTORS) if curve.estimate_frames else ():
        yield Task(Kind.ESTIMATE, _setup(curve, qber, curve.estimate_frames, factor))


def _steps_tasks(curve: Curve, quick: bool) -> Iterator[Task]:
    if curve.grid_frames:
        low, high = CASCADE_GRID if curve.method == "cascade" else LDPC_GRID
        grid = geometric_grid(low, high, 1.2 if quick else GRID_RATIO)
        yield Task(Kind.STEPS, _setup(curve, grid[0], curve.grid_frames), grid)


def geometric_grid(low: float, high: float, ratio: float) -> tuple[float, ...]:
    """From low to high, both included, by equal steps of at most `ratio`."""
    steps = max(1, math.ceil(math.log(high / low) / math.log(ratio) - 1e-9))
    return tuple(low * (high / low) ** (k / steps) for k in range(steps + 1))


class StudyFile:
    """The points of a study in `data.json`: one row a line, replaced as a whole at every point.

    Attributes:
        rows: by name of their task.
    """

    def __init__(self, folder: Path) -> None:
        """Open or begin the study of a folder.

        Raises:
            ParameterError: `data.json` is there and is not a study.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "data.json"
        self.rows: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            self.rows = {row["task"]: row for row in _read(self.path)}

    def has(self, task: Task) -> bool:
        """True if there is a row of the same seed with at least as many frames, over the same grid."""
        row = self.rows.get(task.name)
        asked = task.setup
        return (
            row is not None
            and row["seed"] == asked.seed
            and row["frames"] >= asked.frames
            and len(row.get("qbers", ())) == len(task.grid)
        )

    def put(self, task: Task, fields: dict[str, Any]) -> None:
        """Add the row of a task, or replace it, and write the file."""
        self.rows[task.name] = {"task": task.name, "kind": task.kind.value, **fields}
        lines = ",\n".join(json.dumps(row, allow_nan=False) for row in self.rows.values())
        fresh = self.path.with_suffix(".new")
        fresh.write_text(f'{{"schema": "{SCHEMA}", "points": [\n{lines}\n]}}\n', encoding="utf-8")
        os.replace(fresh, self.path)


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise ValueError(content["schema"])
        points: list[dict[str, Any]] = content["points"]
    except (ValueError, KeyError, TypeError) as error:
        raise ParameterError(f"{path} is not a study of error correction", hint="name another folder") from error
    return points


def retime(file: StudyFile, tasks: Iterable[Task], say: Callable[[str], None]) -> None:
    """Take the speeds of the points that the file has anew, on a quiet machine say, and keep what was counted."""
    for task in tasks:
        if not file.has(task) or task.kind is Kind.STEPS:
            continue
        setup = task.setup
        if task.kind is not Kind.SCALING:
            setup = replace(setup, frames=min(setup.frames, TIMED_BATCHES * setup.batch_frames))
        timed = measure(setup).fields()
        speeds = {name: timed[name] for name in ("mbit_per_s", "one_core_mbit_per_s", "scaling")}
        file.put(task, file.rows[task.name] | speeds | surroundings())
        say(f"{task.name}: {_summary(file.rows[task.name])}")


def run_study(
    file: StudyFile, tasks: Iterable[Task], *, threads: int, resume: bool, say: Callable[[str], None]
) -> None:
    """Measure every task and keep its row.

    Args:
        file: where the rows go.
        tasks: from `plan`.
        threads: for what is counted only; speeds are taken alone.
        resume: leave out what the file has.
        say: told of every point.
    """
    for task in tasks:
        if not (resume and file.has(task)):
            file.put(task, _measured(task, threads) | surroundings())
            say(f"{task.name}: {_summary(file.rows[task.name])}")


def _measured(task: Task, threads: int) -> dict[str, Any]:
    if task.kind is Kind.STEPS:
        return steps([count(replace(task.setup, qber=q), threads=threads, timed=1) for q in task.grid])
    if task.kind is Kind.SCALING:
        return measure(task.setup).fields()
    return count(task.setup, threads=threads, timed=TIMED_BATCHES).fields()


def steps(points: list[Measured]) -> dict[str, Any]:
    """f on a grid, and its largest step from one point to the next, with the standard error of that step.

    Frames have the same random numbers at all points, so the error of a step is that of their differences.

    Raises:
        ReconciliationFailed: at some point every batch gave up.
    """
    setup = points[0].setup
    per_frame = [point.leaks / shannon_limit_bits(setup.frame_bits, point.setup.qber) for point in points]
    if not all(values.size for values in per_frame):
        raise ReconciliationFailed(f"{setup.method}/{setup.preset}: no batch came to an end somewhere on the grid")
    f = [float(values.mean()) for values in per_frame]
    sizes = [abs(after / before - 1) for before, after in itertools.pairwise(f)]
    largest = int(np.argmax(sizes))
    before, after = per_frame[largest : largest + 2]
    fields = points[0].fields()
    return {name: fields[name] for name in ("method", "preset", "frame", "seed", "batch")} | {
        "frames": setup.frames,
        "qbers": [point.setup.qber for point in points],
        "f": f,
        "frame_errors": sum(point.fields()["frame_errors"] for point in points),
        "undetected_errors": sum(point.fields()["undetected_errors"] for point in points),
        "largest_step": sizes[largest],
        "largest_step_error": _error_of_difference(before, after),
        "largest_step_qbers": [points[largest].setup.qber, points[largest + 1].setup.qber],
    }


def _error_of_difference(before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]) -> float | None:
    if before.size != after.size or before.size < 2:  # a batch gave up: its frames have no partner
        return None
    return float((after - before).std(ddof=1)) / math.sqrt(before.size) / float(before.mean())


def _summary(row: dict[str, Any]) -> str:
    if row["kind"] == Kind.STEPS.value:
        low, high = row["largest_step_qbers"]
        return f"largest step {row['largest_step']:.2%} from {low:.3%} to {high:.3%}"
    if row["f"] is None:
        return "every batch gave up"
    speed = f"{row['mbit_per_s']:.3g} Mbit/s" + (f", x{row['scaling']:.2f}" if row["scaling"] else "")
    return f"f {row['f']:.4f}, {row['frame_errors']} of {row['frames']} frames failed, {speed}"


def surroundings() -> dict[str, str]:
    """The machine in words, and the versions that a speed depends on."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba"))
    return {
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "versions": f"{qkd.__name__} {qkd.__version__}, CPython {platform.python_version()}, {versions}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unnamed processor"
