"""Error correction measured: how much it discloses, how often it fails, how many rounds and bytes, how fast.

What the figures mean:

* f = leak / (n h(q)) with q NOMINAL, the leak as Alice's ledger counts it, verification tags not included;
  f_realised divides by the sum of n h(e/n) over frames, e the errors that a frame had.
* a frame error is a frame whose strings differ at the end, or whose batch gave up (which has no leak to count). It is
  an undetected error if the verification tags agree nevertheless.
* a round is one turn of either party: messages sent without waiting for an answer. `rounds` is of a whole batch, the
  larger of the two parties' counts, the maximum over batches.
* Mbit/s are payload bits, by processor time of both parties' whole work on one core, the median over full batches;
  drawing strings and comparing them is outside. With threads, wall-clock time of that many batches at once.

Compilation is warmed up and not counted.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qkd.benchmarks.batches import Conversation, Drawn, Outcome, Setup, converse, draw, judge, run_batch
from qkd.benchmarks.limits import one_way_limit_f, rate_upper_bound
from qkd.benchmarks.result import Row
from qkd.reconciliation.efficiency import shannon_limit_bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """All batches of a setup.

    Attributes:
        setup: what was asked for.
        outcomes: one a batch.
        mbit_per_s: as the module docstring defines it.
        one_core_mbit_per_s: the same by processor time of one core, whatever the threads.
        scaling: throughput with all threads over that of one, both by wall clock in the same run; None with one.
    """

    setup: Setup
    outcomes: tuple[Outcome, ...]
    mbit_per_s: float
    one_core_mbit_per_s: float
    scaling: float | None = None

    @property
    def leaks(self) -> npt.NDArray[np.int64]:
        """Bits disclosed, per frame of the batches that came to an end."""
        return np.concatenate([outcome.leaks for outcome in self.outcomes])

    def fields(self) -> dict[str, Any]:
        """Every figure by its stable JSON name."""
        setup = self.setup
        fixed = {
            "method": setup.method,
            "preset": setup.preset,
            "qber": setup.qber,
            "frame": setup.frame_bits,
            "frames": setup.frames,
            "seed": setup.seed,
            "estimate_factor": setup.estimate_factor,
            "batch": setup.batch_frames,
            "threads": setup.threads,
        }
        return self._leak_fields() | self._failure_fields() | self._line_fields() | self._speed_fields() | fixed

    def _leak_fields(self) -> dict[str, Any]:
        n, q, leaks = self.setup.frame_bits, self.setup.qber, self.leaks
        errors = [outcome.errors for outcome in self.outcomes if not outcome.gave_up]
        realised = sum(shannon_limit_bits(n, e / n) for batch in errors for e in batch.tolist())
        limit = shannon_limit_bits(n, q)
        spread = float(leaks.std(ddof=1)) if leaks.size > 1 else None
        return {
            "f": float(leaks.mean()) / limit if leaks.size else None,
            "f_error": None if spread is None else spread / limit / math.sqrt(leaks.size),
            "f_realised": float(leaks.sum()) / realised if realised else None,
            "leak_ec_bits": int(leaks.sum()),
            "leak_ec_bits_per_frame": float(leaks.mean()) if leaks.size else None,
            "errors": sum(int(batch.sum()) for batch in errors),
        }

    def _failure_fields(self) -> dict[str, Any]:
        n, q, frames = self.setup.frame_bits, self.setup.qber, self.setup.frames
        failed = sum(outcome.frame_errors for outcome in self.outcomes)
        upper = rate_upper_bound(failed, frames)
        concerned = min(failed / frames or upper, 1 - 1e-9)
        return {
            "frame_error_rate": failed / frames,
            "frame_error_rate_upper": upper,
            "frame_errors": failed,
            "undetected_errors": sum(outcome.undetected for outcome in self.outcomes),
            "failed_batches": sum(outcome.gave_up for outcome in self.outcomes),
            "one_way_limit_f": one_way_limit_f(n, q, concerned),
            "one_way_limit_fer": concerned,
        }

    def _line_fields(self) -> dict[str, Any]:
        payload = self.setup.frames * self.setup.frame_bits
        rounds = [outcome.rounds for outcome in self.outcomes]
        return {
            "rounds": max(rounds),
            "rounds_mean": statistics.fmean(rounds),
            "messages": max(outcome.messages for outcome in self.outcomes),
            "wire_bits_per_key_bit": 8 * sum(outcome.wire_bytes for outcome in self.outcomes) / payload,
            "payload_bits": payload,
        }

    def _speed_fields(self) -> dict[str, Any]:
        return {
            "mbit_per_s": self.mbit_per_s,
            "one_core_mbit_per_s": self.one_core_mbit_per_s,
            "scaling": self.scaling,
        }

    def rows(self) -> tuple[Row, ...]:
        """f against the one-way limit; the speed, against that of one thread where there are more."""
        fields, threads = self.fields(), self.setup.threads
        rows = [
            Row(
                case="both parties, one core, processor time",
                value=self.one_core_mbit_per_s,
                unit="Mbit/s",
            )
        ]
        if self.scaling is not None:
            rows.append(
                Row(
                    case=f"{threads} threads, wall clock",
                    value=self.mbit_per_s,
                    unit="Mbit/s",
                    reference=self.mbit_per_s / self.scaling,
                    against="one thread, wall clock",
                )
            )
        if fields["f"] is not None:
            against = f"one-way limit at frame error rate {fields['one_way_limit_fer']:.2g}"
            limit = fields["one_way_limit_f"]
            rows.append(Row(case="f", value=fields["f"], unit="", reference=limit, against=against))
        return tuple(rows)


def measure(setup: Setup) -> Measured:
    """Run all batches of a setup; with threads, by turns on one thread and on all of them.

    Raises:
        ParameterError: what the method refuses.
    """
    warm_up(setup)
    if setup.threads > 1:
        return _measure_threads(setup)
    outcomes = tuple(run_batch(setup, *job) for job in enumerate(setup.batch_sizes()))
    speed = _median_speed(setup, outcomes)
    return Measured(setup=setup, outcomes=outcomes, mbit_per_s=speed, one_core_mbit_per_s=speed)


def count(setup: Setup, *, threads: int, timed: int) -> Measured:
    """As `measure` of one thread, but only the first `timed` batches are timed, alone; threads share the others.

    Args:
        setup: of one thread.
        threads: how many share what is counted only.
        timed: batches that give the speed, at least one.
    """
    warm_up(setup)
    jobs = list(enumerate(setup.batch_sizes()))
    alone = [run_batch(setup, *job) for job in jobs[:timed]]
    with ThreadPoolExecutor(threads) as pool:
        others = list(pool.map(lambda job: run_batch(setup, *job), jobs[timed:]))
    speed = _median_speed(setup, alone)
    return Measured(setup=setup, outcomes=(*alone, *others), mbit_per_s=speed, one_core_mbit_per_s=speed)


def warm_up(setup: Setup) -> None:
    """Compile and load what a batch of this setup needs: one frame is corrected and forgotten."""
    run_batch(setup, 0, 1)


def _median_speed(setup: Setup, outcomes: Sequence[Outcome]) -> float:
    """Payload bits by processor time, Mbit/s; batches that are not full count only where there is no other."""
    full = [outcome for outcome in outcomes if outcome.frames == setup.batch_frames] or outcomes
    return statistics.median(outcome.frames * setup.frame_bits / outcome.cpu_s / 1e6 for outcome in full)


def _measure_threads(setup: Setup) -> Measured:
    """Groups of batches by turns on one thread and on all, so that a busy neighbour slows down both."""
    jobs, width = list(enumerate(setup.batch_sizes())), setup.threads
    groups = [jobs[start : start + width] for start in range(0, len(jobs), width)]
    outcomes: tuple[list[Outcome], list[Outcome]] = ([], [])
    seconds: tuple[list[float], list[float]] = ([], [])
    with ThreadPoolExecutor(width) as pool:
        for number, group in enumerate(groups):
            together = number % 2
            ended, elapsed = _run_group(setup, group, pool if together else None)
            outcomes[together].extend(ended)
            if sum(outcome.frames for outcome in ended) == width * setup.batch_frames:
                seconds[together].append(elapsed)
    alone_s, together_s = (statistics.median(taken) for taken in seconds)
    return Measured(
        setup=setup,
        outcomes=(*outcomes[0], *outcomes[1]),
        mbit_per_s=width * setup.batch_frames * setup.frame_bits / together_s / 1e6,
        one_core_mbit_per_s=_median_speed(setup, outcomes[0]),
        scaling=alone_s / together_s,
    )


def _run_group(
    setup: Setup, group: list[tuple[int, int]], pool: ThreadPoolExecutor | None
) -> tuple[list[Outcome], float]:
    """A few batches one after the other, or all at once in a pool; what they did, and how long that took, s."""
    indices = [index for index, _ in group]
    drawn = [draw(setup, *job) for job in group]

    def work(index: int, strings: Drawn) -> Conversation:
        return converse(setup, index, strings)

    start = time.perf_counter()
    ended = list((pool.map if pool else map)(work, indices, drawn))
    elapsed = time.perf_counter() - start
    return [judge(setup, *batch) for batch in zip(indices, drawn, ended, strict=True)], elapsed
