"""The whole post-processing of a block measured: what goes in, what comes out, and where the time goes.

What the figures mean:

* A block is `qkd.bbm92` as it runs on a line: Alice's and Bob's engines in one process, every message through the
  codec, both parties' work counted, until both key stores have committed. Two blocks of each kind are run in turn, one
  by itself and one under `stagewatch`; the speed is of the former, the stages are of the latter.
* Mbit/s are sifted bits over processor time of the process, all of its threads together, so it is per core whatever
  runs in threads (nothing of the engines does); the median over blocks. `wall_mbit_per_s` has the waiting in it, for
  the disk above all.
* The stages are seconds of processor time of both parties, of the watched block that took the median time: they add up
  to `watched_s`. What they mean is `stagewatch.Stage`.
* Sifted bits go in where the case says so: stage SIFTING is then nothing. The case "from tags" starts with the tags of
  both stations in memory and Bob's clock known, and so has grouping of clicks, the messages of sifting, clock
  following, matching and the monitors in it; making the tags is not counted.
* Stores are key stores on disk, or vaults in memory, with a full reserve of pads. Released means committed: both
  stores give the block's key to whoever asks from then on. A block rests in one piece until somebody does; cutting it
  into units is then work of the request and not in the speed. What it costs stands in a row of its own, processor time
  of both stores a block, with the speed that the headline would have if every block were cut at once (`mbit_per_s`).
* The reference is SHA-256 of zero bytes by one core in the same run: it says in which state the machine was.

One block of each case goes first and is not counted: it compiles, fills caches and makes the handshake.
"""

from __future__ import annotations

import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from distribution.clock import ClockTracker, acquire
from distribution.sources.replay import Replay
from distribution.tags import EMPTY
from qkd import bbm92
from qkd.bbm92 import Outcome
from qkd.benchmarks.pipeline_input import PAIRS_PER_S, Recording, recording, sifted_blocks
from qkd.benchmarks.result import Row
from qkd.benchmarks.stagewatch import Stage, StageClock, watched
from qkd.bits import same
from qkd.block import Vault
from qkd.errors import ParameterError
from qkd.exchange.steps import Role, Steps
from qkd.kms.store import KeyStore
from qkd.link import Link, Side
from qkd.randomness import OperatingSystemBits
from qkd.reconciliation.choice import Method
from qkd.session import SessionParameters
from qkd.sifting import SiftedBlock
from qkd.station import Station
from qkd.testing import MemoryVault

CUT_CASE = "units cut on demand, both stores on disk, a block"
LEAST_BITS, MOST_BITS = 20_000, 1 << 26
# A recording holds so many epochs more than a block, because it must not end with it.
_SPARE_EPOCHS = 3
_PRE_SHARED_BYTES = 16384
_REFERENCE_BYTES = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is to be measured.

    Attributes:
        qber: error rate of the sifted bits.
        block_bits: sifted bits of a block, both bases.
        blocks: counted blocks of each case by themselves, and as many watched.
        method: error correction of the headline.
        heralding: share of a station's clicks that are coincidences, in the case from tags; 0 leaves it out.
        block_seconds: how long a block is said to have taken to detect; AUTO's error correction must keep up.
        seed: of bits, errors and tags.
        folder: where the key stores are made for the time of the run.

    Raises:
        ParameterError: something that cannot be measured.
    """

    qber: float = 0.03
    block_bits: int = 1_000_000
    blocks: int = 5
    method: Method = Method.CASCADE_FAST
    heralding: float = 0.3
    block_seconds: float = 1.0
    seed: int = 1
    folder: Path | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.qber <= 0.1:
            raise ParameterError(f"qber = {self.qber} must be in 0 .. 0.1", hint="above 11 % there is no key to make")
        if not LEAST_BITS <= self.block_bits <= MOST_BITS:
            raise ParameterError(f"block_bits = {self.block_bits} must be in {LEAST_BITS} .. {MOST_BITS}")
        if self.blocks < 1:
            raise ParameterError(f"blocks = {self.blocks} must be at least 1")
        if not (self.heralding == 0.0 or 0.01 <= self.heralding <= 1.0):
            raise ParameterError(f"heralding = {self.heralding} must be 0 (leave out) or in 0.01 .. 1")
        if not 1e-3 <= self.block_seconds <= 3600.0:
            raise ParameterError(f"block_seconds = {self.block_seconds} must be in 0.001 .. 3600")

    def parameters(self, method: Method) -> SessionParameters:
        """The session's parameters; the limit on the error rate lets every allowed `qber` pass."""
        least = min(5_000, self.block_bits)
        return SessionParameters(
            block_bits=self.block_bits, least_block_bits=least, reconciliation=method, qber_limit=0.11
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockTime:
    """One block: processor and wall time of both parties, s, what it was made of, and the stages if it was watched."""

    cpu_s: float
    wall_s: float
    sifted_bits: int
    outcome: Outcome = field(repr=False)
    clock: StageClock | None = None

    @property
    def mbit_per_s(self) -> float:
        """Sifted bits by processor time."""
        return self.sifted_bits / self.cpu_s * 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseSpeed:
    """All counted blocks of one case."""

    name: str
    alone: tuple[BlockTime, ...]
    watched: tuple[BlockTime, ...]

    @property
    def mbit_per_s(self) -> float:
        """Median by processor time."""
        return statistics.median(block.mbit_per_s for block in self.alone)

    @property
    def wall_mbit_per_s(self) -> float:
        """Median by wall clock."""
        return statistics.median(block.sifted_bits / block.wall_s * 1e-6 for block in self.alone)

    def details(self) -> dict[str, Any]:
        """Everything but the speed, by stable JSON name."""
        middle = sorted(self.watched, key=lambda block: block.cpu_s)[(len(self.watched) - 1) // 2]
        assert middle.clock is not None
        report = middle.outcome.block.report
        return {
            "wall_mbit_per_s": self.wall_mbit_per_s,
            "stages": dict(middle.clock.cpu_s),
            "watched_s": middle.cpu_s,
            "store_wall_s": middle.clock.wall_s[Stage.STORE],
            "sifted_bits": middle.sifted_bits,
            "secret_bits": report.secret_bits,
            "qber": (report.errors_z + report.errors_x) / report.sifted_bits,
            "f": report.f,
            "failed_frames": sum(block.outcome.block.report.failed_frames for block in (*self.alone, *self.watched)),
            "rounds": report.rounds,
            "reconciliation": report.reconciliation,
            "slowest_mbit_per_s": min(block.mbit_per_s for block in self.alone),
            "fastest_mbit_per_s": max(block.mbit_per_s for block in self.alone),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CutTime:
    """One block cut into units at both stores: processor and wall time, s, and how many units at each."""

    cpu_s: float
    wall_s: float
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSpeed:
    """All cases of a run; the first one is the headline."""

    setup: Setup
    cases: tuple[CaseSpeed, ...]
    cuts: tuple[CutTime, ...]
    reference_mbit_per_s: float

    def fields(self) -> dict[str, Any]:
        """As it stands in JSON."""
        head = self.cases[0]
        fixed = {
            "qber": self.setup.qber,
            "block_bits": self.setup.block_bits,
            "blocks": self.setup.blocks,
            "method": self.setup.method.value,
            "mbit_per_s": head.mbit_per_s,
            "reference_mbit_per_s": self.reference_mbit_per_s,
        }
        details = {name: head.details()[name] for name in ("wall_mbit_per_s", "stages", "watched_s")}
        return fixed | details | {"rows": [row.fields() for row in self.rows()]}

    def rows(self) -> list[Row]:
        """One a case, and what cutting costs."""
        return [*self._case_rows(), self._cut_row()]

    def _cut_row(self) -> Row:
        cpu_s = statistics.median(cut.cpu_s for cut in self.cuts)
        return Row(
            case=CUT_CASE,
            value=1e3 * cpu_s,
            unit="ms",
            details={
                "wall_ms": 1e3 * statistics.median(cut.wall_s for cut in self.cuts),
                "units": self.cuts[-1].units,
                "mbit_per_s": statistics.median(
                    block.sifted_bits / (block.cpu_s + cpu_s) * 1e-6 for block in self.cases[0].alone
                ),
            },
        )

    def _case_rows(self) -> list[Row]:
        return [
            Row(
                case=case.name,
                value=case.mbit_per_s,
                unit="Mbit/s",
                reference=self.reference_mbit_per_s,
                against="SHA-256, one core",
                details=case.details(),
            )
            for case in self.cases
        ]


def measure(setup: Setup) -> PipelineSpeed:
    """Run all cases by turns, block by block, so that a busy neighbour slows down all of them.

    Raises:
        QkdError: a block failed, which at an allowed error rate none should.
    """
    rng = np.random.default_rng(setup.seed)
    with tempfile.TemporaryDirectory(dir=setup.folder) as folder, ExitStack() as stack:
        cases = _cases(setup, rng, Path(folder), stack)
        for case in cases:
            case.block(rng)
        alone: list[list[BlockTime]] = [[] for _ in cases]
        seen: list[list[BlockTime]] = [[] for _ in cases]
        reference_s = []
        for _ in range(setup.blocks):
            reference_s.append(_reference_s())
            for i, case in enumerate(cases):
                alone[i].append(case.block(rng))
                seen[i].append(case.block(rng, StageClock()))
        cuts = _cut_times(cases[0])
    speeds = [
        CaseSpeed(name=case.name, alone=tuple(one), watched=tuple(two))
        for case, one, two in zip(cases, alone, seen, strict=True)
    ]
    reference = 8 * _REFERENCE_BYTES / statistics.median(reference_s) * 1e-6
    return PipelineSpeed(setup=setup, cases=tuple(speeds), cuts=cuts, reference_mbit_per_s=reference)


def _cut_times(case: _Case) -> tuple[CutTime, ...]:
    """Every block of the case cut at both nodes, oldest first, as an application's first request would."""
    stores = [vault for vault in case.vaults if isinstance(vault, KeyStore)]
    times = []
    for _ in stores[0].blocks():
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        units = [store.cut_oldest() for store in stores]
        cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
        times.append(CutTime(cpu_s=cpu_s, wall_s=wall_s, units=units[0]))
    return tuple(times)


def _reference_s() -> float:
    data = bytes(_REFERENCE_BYTES)
    start = time.process_time()
    hashlib.sha256(data).digest()
    return time.process_time() - start


Vaults = tuple[Vault, Vault]
# Puts a block's input before the two sides of a link, for as long as the block takes.
Feed = Callable[[Link, Generator], Any]


class _Case:
    """One link, and what its blocks are made from."""

    def __init__(self, name: str, params: SessionParameters, vaults: Vaults, feed: Feed) -> None:
        self.name = name
        self.vaults = vaults
        self._feed = feed
        secrets = OperatingSystemBits()
        alice, bob = (Side(Replay(EMPTY, simulated=True), vault, secrets) for vault in vaults)
        self._link = Link(params, alice, bob)
        self._blocks = self._link.blocks()

    def block(self, rng: Generator, clock: StageClock | None = None) -> BlockTime:
        """The next block, watched if a clock is given.

        Raises:
            RuntimeError: the two stores hold different keys.
        """
        with self._feed(self._link, rng), ExitStack() as stack:
            if clock is not None:
                stack.enter_context(watched(self._link, clock))
                clock.start()
            cpu_s, wall_s = time.process_time(), time.perf_counter()
            alice, bob = next(self._blocks)
            if clock is not None:
                clock.stop()
            cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
        if not same(alice.block.key, bob.block.key):
            raise RuntimeError("the benchmark's two parties ended with different keys")
        return BlockTime(
            cpu_s=cpu_s,
            wall_s=wall_s,
            sifted_bits=alice.block.report.sifted_bits,
            outcome=alice,
            clock=clock,
        )


def _cases(setup: Setup, rng: Generator, folder: Path, stack: ExitStack) -> list[_Case]:
    feed = _sifted_feed(setup)
    named, auto = setup.parameters(setup.method), setup.parameters(Method.AUTO)
    disk = [_on_disk(folder / str(number), stack) for number in range(3)]
    cases = [
        _Case(f"sifted bits to released key, {setup.method.value}, stores on disk", named, disk[0], feed),
        _Case(f"sifted bits to released key, {setup.method.value}, stores in memory", named, _in_memory(), feed),
        _Case("sifted bits to released key, auto, stores on disk", auto, disk[1], feed),
    ]
    if setup.heralding:
        spare = round(_SPARE_EPOCHS * named.epoch_s * PAIRS_PER_S / 2)
        tags = recording(rng, setup.block_bits + spare, setup.qber, setup.heralding)
        name = f"from tags, heralding {setup.heralding:g}, {setup.method.value}, stores on disk"
        cases.append(_Case(name, named, disk[2], _tags_feed(tags)))
    return cases


def _sifted_feed(setup: Setup) -> Feed:
    sifting: Any = vars(bbm92)["sifting"]

    @contextmanager
    def feed(_link: Link, rng: Generator) -> Iterator[None]:
        blocks = sifted_blocks(rng, setup.block_bits, setup.qber, setup.block_seconds)
        before = sifting.alice, sifting.bob
        sifting.alice, sifting.bob = (_given(block) for block in blocks)
        try:
            yield
        finally:
            sifting.alice, sifting.bob = before

    return feed


def _given(block: SiftedBlock) -> Callable[..., Steps[SiftedBlock]]:
    """A sifting that is over before it has begun."""

    def steps(_station: Station, _params: SessionParameters) -> Steps[SiftedBlock]:
        return block
        yield

    return steps


def _tags_feed(tags: Recording) -> Feed:
    found = acquire(tags.alice.t_ps, tags.bob.t_ps)

    @contextmanager
    def feed(link: Link, _rng: Generator) -> Iterator[None]:
        for side, own in ((link.alice, tags.alice), (link.bob, tags.bob)):
            side.source = Replay(own, simulated=True)
            side.station = Station(link.params.double_click_ps, side.secrets)
        assert link.alice.station is not None
        link.alice.station.tracker = ClockTracker(found)
        yield

    return feed


def _in_memory() -> Vaults:
    secret = OperatingSystemBits().take_bytes(_PRE_SHARED_BYTES)
    return MemoryVault(secret), MemoryVault(secret)


def _on_disk(folder: Path, stack: ExitStack) -> Vaults:
    folder.mkdir()
    secrets = OperatingSystemBits()
    secret = secrets.take_bytes(_PRE_SHARED_BYTES)
    stores: Sequence[KeyStore] = [
        stack.enter_context(KeyStore.open(folder / f"{role.value}.keys", secrets.take_bytes(32), role=role))
        for role in (Role.ALICE, Role.BOB)
    ]
    for store in stores:
        store.install_pre_shared(secret)
    return stores[0], stores[1]
