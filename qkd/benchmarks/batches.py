"""One batch of frames through error correction: drawn, corrected by two engines, judged.

Strings have independent errors of probability q. Batch i of a seed has the same strings whatever else is asked: equal
random numbers for all error rates and presets, so that differences between them show through less noise than either
has. Both parties run as engines, and every message is encoded and decoded between them; only that is timed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from qkd import verification
from qkd.benchmarks.methods import find_method
from qkd.bits import Bits
from qkd.errors import ParameterError, ReconciliationFailed
from qkd.exchange.engine import Engine
from qkd.exchange.steps import Role
from qkd.exchange.transcript import Transcript
from qkd.randomness import FixedBits
from qkd.reconciliation.frame import MAX_BATCH_BITS, MAX_FRAME_BITS, Frame, Reconciled
from qkd.reconciliation.ledger import LeakModel
from qkd.transport.memory import MemoryLine

BATCH_FRAMES = 64
TAG_BITS = 64
QBER_RANGE = (1e-4, 0.25)
SHORTEST_FRAME_BITS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is measured.

    Attributes:
        method, preset: by name.
        qber: probability of an error, per bit.
        frame_bits, frames: length and number of the strings.
        seed: of strings, errors and the public seeds.
        estimate_factor: what the parties take for the error rate is this times the true one.
        batch: frames corrected together; 0 for 64, as many as a word has bits.
        threads: batches at a time; above 1, throughput is that of all threads and its ratio to one is reported.
    """

    method: str
    preset: str
    qber: float
    frame_bits: int = 65536
    frames: int = 256
    seed: int = 1
    estimate_factor: float = 1.0
    batch: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        find_method(self.method, self.preset)
        low, high = QBER_RANGE
        if not low <= self.qber <= high:
            raise ParameterError(f"qber = {self.qber} must be in {low} .. {high}", hint="give a fraction: 0.03 for 3 %")
        if not SHORTEST_FRAME_BITS <= self.frame_bits <= MAX_FRAME_BITS:
            raise ParameterError(f"frame = {self.frame_bits} bits must be in {SHORTEST_FRAME_BITS} .. {MAX_FRAME_BITS}")
        if not 0 < self.estimate_factor * self.qber <= 0.5:
            raise ParameterError(f"estimate factor {self.estimate_factor}: an estimate is above 0 and at most 0.5")
        if not 1 <= self.frames <= 10**7 or self.seed < 0 or not 1 <= self.threads <= 256:
            raise ParameterError(
                f"frames = {self.frames}, seed = {self.seed}, threads = {self.threads}: must be in 1 .. 10000000,"
                " not negative, and in 1 .. 256"
            )
        self._check_batches()

    def _check_batches(self) -> None:
        most = MAX_BATCH_BITS // self.frame_bits
        if not 0 <= self.batch <= most:
            raise ParameterError(f"batch = {self.batch} frames of {self.frame_bits} bits: at most {most}")
        needed = 2 * self.threads * self.batch_frames
        if self.threads > 1 and self.frames < needed:
            raise ParameterError(
                f"{self.frames} frames are too few to compare {self.threads} threads with one",
                hint=f"give at least {needed} frames, or smaller batches",
            )

    @property
    def batch_frames(self) -> int:
        """Frames of a full batch."""
        return self.batch or BATCH_FRAMES

    def batch_sizes(self) -> list[int]:
        """Frames of each batch; the last may be smaller."""
        full, rest = divmod(self.frames, self.batch_frames)
        return [self.batch_frames] * full + [rest] * (rest > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one batch did.

    Attributes:
        frames: how many it had.
        frame_errors, undetected: frames whose strings differ at the end; those of them whose tags agree.
        leaks: int64, shape (frames,): bits disclosed; shape (0,) of a batch that gave up.
        errors: int64, shape (frames,): bits that differed at the beginning.
        wire_bytes, messages: encoded, both ways together.
        rounds: turns, the larger of the two parties' numbers.
        cpu_s, wall_s: of both parties together; processor time is of the whole process, so of this batch only where
            nothing else ran.
    """

    frames: int
    frame_errors: int
    undetected: int
    leaks: npt.NDArray[np.int64] = field(repr=False)
    errors: npt.NDArray[np.int64] = field(repr=False)
    wire_bytes: int
    messages: int
    rounds: int
    cpu_s: float
    wall_s: float

    @property
    def gave_up(self) -> bool:
        """True if the parties raised ReconciliationFailed."""
        return not self.leaks.size


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """The strings of a batch, uint8 0/1, shape (frames, bits) each."""

    alice: Bits = field(repr=False)
    bob: Bits = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Conversation:
    """What a batch came to: both parties' results, None if they gave up; and what it cost."""

    results: tuple[Reconciled, Reconciled] | None
    meter: Meter
    cpu_s: float
    wall_s: float


class Meter:
    """Stands on the line and counts; every message passes as it is.

    Attributes:
        wire_bytes, messages: both ways together.
        turns: per role, how often it spoke after the other one had (or at the beginning).
    """

    def __init__(self) -> None:
        self.wire_bytes = 0
        self.messages = 0
        self.turns = dict.fromkeys(Role, 0)
        self._last: Role | None = None

    def __call__(self, sender: Role, encoded: bytes) -> list[bytes]:
        """Count one message and let it pass."""
        self.wire_bytes += len(encoded)
        self.messages += 1
        self.turns[sender] += sender is not self._last
        self._last = sender
        return [encoded]


def run_batch(setup: Setup, index: int, frames: int) -> Outcome:
    """Draw, correct and judge batch `index`."""
    drawn = draw(setup, index, frames)
    return judge(setup, index, drawn, converse(setup, index, drawn))


def draw(setup: Setup, index: int, frames: int) -> Drawn:
    """The strings of batch `index`: an error is where a uniform number, the same for every q, is below q."""
    rng = np.random.default_rng([setup.seed, setup.frame_bits, index])
    shape = (frames, setup.frame_bits)
    alice = np.unpackbits(np.frombuffer(rng.bytes((frames * setup.frame_bits + 7) // 8), np.uint8))
    alice = alice[: frames * setup.frame_bits].reshape(shape)
    wrong = rng.random(shape, np.float32) < setup.qber
    return Drawn(alice, alice ^ wrong.view(np.uint8))


def converse(setup: Setup, index: int, drawn: Drawn) -> Conversation:
    """Both parties' whole work on a batch, timed."""
    method = find_method(setup.method, setup.preset)
    preset = method.presets[setup.preset]
    estimate = setup.estimate_factor * setup.qber
    secrets = [FixedBits(f"bench/reconcile/{setup.seed}/{index}/{role.value}") for role in Role]
    frames_a, frames_b = ([Frame(bits, estimate) for bits in side] for side in (drawn.alice, drawn.bob))
    meter, results = Meter(), None
    wall, cpu = time.perf_counter(), time.process_time()
    alice = Engine(Role.ALICE, method.alice(frames_a, preset, secrets[0]), Transcript())
    bob = Engine(Role.BOB, method.bob(frames_b, preset, secrets[1]), Transcript())
    try:
        MemoryLine(alice, bob, tamper=meter).run()
        results = (alice.result, bob.result)
    except ReconciliationFailed:
        pass
    return Conversation(results, meter, time.process_time() - cpu, time.perf_counter() - wall)


def judge(setup: Setup, index: int, drawn: Drawn, ended: Conversation) -> Outcome:
    """Count what differs at the end, and ask the verification tags about it."""
    frames = len(drawn.alice)
    frame_errors, undetected, leaks = frames, 0, np.empty(0, np.int64)
    if ended.results is not None:
        alice, bob = ended.results
        rng = np.random.default_rng([setup.seed, setup.frame_bits, index, 1])
        different = [pair for pair in zip(alice.strings, bob.strings, strict=True) if not np.array_equal(*pair)]
        frame_errors, undetected = len(different), sum(tags_agree(*pair, rng) for pair in different)
        leaks = alice.ledger.leak_bits(LeakModel.ERROR_PATTERN_PUBLIC)
    return Outcome(
        frames=frames,
        frame_errors=frame_errors,
        undetected=undetected,
        leaks=leaks,
        errors=(drawn.alice ^ drawn.bob).sum(axis=1, dtype=np.int64),
        wire_bytes=ended.meter.wire_bytes,
        messages=ended.meter.messages,
        rounds=max(ended.meter.turns.values()),
        cpu_s=ended.cpu_s,
        wall_s=ended.wall_s,
    )


def tags_agree(alice: Bits, bob: Bits, rng: Generator) -> bool:
    """Whether verification takes two strings for equal, under a seed drawn now."""
    seed = rng.integers(0, 2, alice.size, np.uint8)
    return np.array_equal(verification.tag(alice, TAG_BITS, seed), verification.tag(bob, TAG_BITS, seed))
