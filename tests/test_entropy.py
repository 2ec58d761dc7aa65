"""Hardware entropy: cutoffs against the standard and exact sums, broken and good devices, and what is handed out."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli import doctor
from distribution.sources.replay import Replay
from distribution.tags import EMPTY
from qkd.entropy import CONDITIONED_BITS, STARTUP_SAMPLES, CombinedBits, HealthTests, NoiseClaim
from qkd.errors import EntropyFailed, ParameterError
from qkd.exchange.steps import Role
from qkd.node.config import EXAMPLE, load
from qkd.node.noise import NoiseDevice, open_secrets
from qkd.node.stationloop import StationLoop
from qkd.randomness import FixedBits, OperatingSystemBits
from qkd.session import SessionParameters
from qkd.testing import MemoryVault
from tests.reference import health


class Played:
    """A device that gives what it is told."""

    def __init__(self, make: Callable[[int], bytes]) -> None:
        self._make = make
        self.given: list[bytes] = []

    def read(self, count: int) -> bytes:
        self.given.append(self._make(count))
        return self.given[-1]


def good() -> Played:
    return Played(FixedBits("a good device").take_bytes)


# Cutoffs.


def test_the_standards_own_figures() -> None:
    """4.4.1: 2 bits a sample at 2^-20 give 11. 4.4.2, its tables at 2^-20: bits in 1024, larger samples in 512."""
    assert NoiseClaim(min_entropy=2.0, alpha_exponent=20).repetition_cutoff == 11
    bits = [NoiseClaim(sample_bits=1, min_entropy=h, alpha_exponent=20) for h in (0.2, 0.4, 0.6, 0.8, 1.0)]
    assert [claim.proportion_cutoff for claim in bits] == [941, 840, 748, 664, 589]
    larger = [NoiseClaim(min_entropy=h, alpha_exponent=20) for h in (0.5, 1, 2, 4, 8)]
    assert [claim.proportion_cutoff for claim in larger] == [410, 311, 177, 62, 13]


@pytest.mark.parametrize("alpha_exponent", [20, 30, 40])
@pytest.mark.parametrize(
    ("sample_bits", "min_entropy"), [(1, 0.01), (1, 0.3), (1, 0.999), (1, 1.0), (8, 0.05), (8, 1.0), (8, 5.5), (8, 8.0)]
)
def test_the_proportion_cutoff_is_the_exact_binomial_quantile(
    sample_bits: int, min_entropy: float, alpha_exponent: int
) -> None:
    claim = NoiseClaim(sample_bits=sample_bits, min_entropy=min_entropy, alpha_exponent=alpha_exponent)
    assert claim.proportion_cutoff == health.proportion_cutoff(claim.window, min_entropy, alpha_exponent)


def test_the_table_in_the_documentation_is_what_the_code_does() -> None:
    text = (Path(__file__).parents[1] / "docs" / "randomness.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith(("| 1 |", "| 8 |"))]
    assert len(rows) == 5
    for bits, min_entropy, repetitions, proportion in rows:
        claim = NoiseClaim(sample_bits=int(bits), min_entropy=float(min_entropy))
        assert int(repetitions) == claim.repetition_cutoff
        assert proportion == f"{claim.proportion_cutoff} of {claim.window}"


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"sample_bits": 4}, "sample_bits = 4"),
        ({"min_entropy": 0.0}, "min_entropy = 0.0"),
        ({"min_entropy": float("nan")}, "min_entropy = nan"),
        ({"sample_bits": 1, "min_entropy": 1.5}, "min_entropy = 1.5"),
        ({"alpha_exponent": 10}, "alpha_exponent = 10"),
    ],
)
def test_impossible_claims_are_named(fields: dict[str, float], word: str) -> None:
    with pytest.raises(ParameterError, match=word):
        NoiseClaim(**fields)  # type: ignore[arg-type]


# The tests themselves.


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_tests_fail_on_the_same_stretches_as_the_standards_own_steps(data: st.DataObject) -> None:
    """Any samples in any cuts: the fast tests fail by the end of the feed in which a sample-by-sample test failed."""
    sample_bits = data.draw(st.sampled_from([1, 8]))
    claim = NoiseClaim(sample_bits=sample_bits, min_entropy=data.draw(st.sampled_from([0.2, 1.0])), alpha_exponent=20)
    values = data.draw(st.sampled_from([1, 2, 3])) if sample_bits == 8 else 2
    weights = [data.draw(st.floats(0.01, 1)) for _ in range(values)]
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 30)))
    samples = rng.choice(values, 3000, p=np.array(weights) / sum(weights)).astype(np.uint8)
    fails = [
        health.repetition_fails_at(samples.tolist(), claim.repetition_cutoff),
        health.proportion_fails_at(samples.tolist(), claim.window, claim.proportion_cutoff),
    ]
    first = min((at for at in fails if at is not None), default=None)
    cuts = sorted(data.draw(st.lists(st.integers(0, 3000), max_size=8)))
    tests = HealthTests(claim)
    for start, stop in zip([0, *cuts], [*cuts, 3000], strict=True):
        if first is not None and start <= first < stop:
            with pytest.raises(EntropyFailed):
                tests.feed(samples[start:stop])
            return
        tests.feed(samples[start:stop])
    assert first is None


@pytest.mark.parametrize("cut", [1, 15, 29, 30])
def test_a_run_over_the_edge_of_two_reads_counts_as_one(cut: int) -> None:
    """31 equal bytes at one bit a sample and 2^-30; 30 pass."""
    claim = NoiseClaim(min_entropy=1.0)
    assert claim.repetition_cutoff == 31
    lead = np.arange(100, dtype=np.uint8)
    tests = HealthTests(claim)
    tests.feed(np.concatenate([lead, np.full(cut, 200, np.uint8)]))
    with pytest.raises(EntropyFailed, match="31 equal samples in a row, 31 are a failure"):
        tests.feed(np.full(31 - cut, 200, np.uint8))
    spared = HealthTests(claim)
    spared.feed(np.concatenate([lead, np.full(cut, 200, np.uint8)]))
    spared.feed(np.concatenate([np.full(30 - cut, 200, np.uint8), lead]))


def test_a_failure_is_for_good() -> None:
    tests = HealthTests(NoiseClaim())
    with pytest.raises(EntropyFailed):
        tests.feed(np.zeros(100, np.uint8))
    with pytest.raises(EntropyFailed, match="repetition count"):
        tests.feed(np.arange(200, dtype=np.uint8))


@pytest.mark.parametrize(("sample_bits", "min_entropy"), [(1, 1.0), (8, 8.0), (8, 1.0)])
def test_a_good_device_passes_a_million_samples(sample_bits: int, min_entropy: float) -> None:
    """Fixed bytes (SHAKE-256), so this cannot fail by chance; of fresh ones a few in 1000 runs would."""
    claim = NoiseClaim(sample_bits=sample_bits, min_entropy=min_entropy)
    tests = HealthTests(claim)
    raw = FixedBits("a million samples").take_bytes(1_000_000 * sample_bits // 8)
    for start in range(0, len(raw), 997):
        tests.feed(claim.samples(raw[start : start + 997]))


STUCK = [(b"\x00", 1), (b"\xff", 1), (b"\x00", 8), (b"\xa5", 8)]


@pytest.mark.parametrize(("value", "sample_bits"), STUCK)
def test_a_stuck_device_does_not_pass_the_start(value: bytes, sample_bits: int) -> None:
    claim = NoiseClaim(sample_bits=sample_bits, min_entropy=float(sample_bits))
    with pytest.raises(EntropyFailed, match="repetition count"):
        CombinedBits(OperatingSystemBits(), Played(lambda count: value * count), claim)


@pytest.mark.parametrize(("sample_bits", "chance"), [(1, 0.65), (1, 0.35), (1, 0.75), (8, 0.05), (8, 0.1)])
def test_a_biased_device_is_noticed_within_300_windows(sample_bits: int, chance: float) -> None:
    """Claimed full entropy; one value comes with this chance. Seed 5.

    A window tells only if it begins with the frequent value; of 300, none does with probability 0.95^300 = 2e-7.
    Of those that do, nearly all count past the cutoff: 27 +- 5 of 512 bytes against 16, 666 +- 15 of 1024 bits against
    609.
    """
    rng = np.random.default_rng(5)
    claim = NoiseClaim(sample_bits=sample_bits, min_entropy=float(sample_bits))
    count = 300 * claim.window
    others = rng.integers(0, 1 << sample_bits, count) if sample_bits == 8 else np.zeros(count)
    samples = np.where(rng.random(count) < chance, 1, others).astype(np.uint8)
    with pytest.raises(EntropyFailed, match=r"adaptive proportion|repetition count"):
        HealthTests(claim).feed(samples)


def test_an_honest_claim_of_a_biased_device_passes() -> None:
    """The same 65 % of ones, claimed as the 0.62 bits of min-entropy that they have: -log2(0.65). Seed 5."""
    samples = (np.random.default_rng(5).random(200_000) < 0.65).astype(np.uint8)
    HealthTests(NoiseClaim(sample_bits=1, min_entropy=0.62)).feed(samples)


def test_what_the_tests_cannot_see() -> None:
    """Said, not hidden: a short cycle of different samples passes both tests, which is why nothing rests on them."""
    cycle = bytes(range(256))
    device = Played(lambda count: (cycle * (count // 256 + 1))[:count])
    CombinedBits(OperatingSystemBits(), device, NoiseClaim(min_entropy=8.0)).take_bytes(32)


def test_a_device_that_breaks_later_stops_the_supply_for_good() -> None:
    reads = iter(range(1 << 30))
    device = Played(lambda count: FixedBits(f"read {n}").take_bytes(count) if (n := next(reads)) < 5 else bytes(count))
    source = CombinedBits(OperatingSystemBits(), device, NoiseClaim(min_entropy=2.0))
    for _ in range(4):
        assert len(source.take_bytes(32)) == 32
    for _ in range(3):
        with pytest.raises(EntropyFailed):
            source.take_bytes(32)


# What is handed out.


def test_the_output_is_the_documented_combination() -> None:
    other, device = FixedBits("the system's"), good()
    claim = NoiseClaim(min_entropy=4.0)
    source = CombinedBits(other, device, claim)
    assert len(device.given[0]) == STARTUP_SAMPLES
    again = FixedBits("the system's")
    key = b""
    for number, count in enumerate((1, 16, 0, 1000), start=1):
        out = source.take_bytes(count)
        raw = device.given[number]
        assert 8 * len(raw) * (claim.min_entropy / 8) >= CONDITIONED_BITS
        key = hashlib.sha512(b"entangled-qkd noise" + b"key" + key + raw).digest()
        noise = hashlib.shake_256(b"entangled-qkd noise" + b"out" + key).digest(count)
        assert out == bytes(a ^ b for a, b in zip(again.take_bytes(count), noise, strict=True))


def test_either_source_alone_keeps_the_output_unpredictable() -> None:
    """With the other one constant, outputs still never repeat."""

    class Zeros:
        def take_bytes(self, count: int) -> bytes:
            return bytes(count)

    claim = NoiseClaim(min_entropy=8.0)
    from_device = CombinedBits(Zeros(), good(), claim)
    cycle = Played(lambda count: (bytes(range(256)) * (count // 256 + 1))[:count])
    from_system = CombinedBits(OperatingSystemBits(), cycle, claim)
    for source in (from_device, from_system):
        assert len({source.take_bytes(16) for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("sample_bits", "min_entropy", "expected"),
    [(1, 1.0, 64), (1, 0.5, 128), (1, 0.3, 214), (8, 8.0, 64), (8, 3.0, 171)],
)
def test_enough_raw_samples_are_read(sample_bits: int, min_entropy: float, expected: int) -> None:
    """512 bits of claimed min-entropy: 512 / H samples, rounded up, then to whole bytes."""
    assert NoiseClaim(sample_bits=sample_bits, min_entropy=min_entropy).bytes_for(512) == expected


def test_a_device_that_gives_too_little_is_refused() -> None:
    with pytest.raises(EntropyFailed, match="gave 1023 bytes where 1024"):
        CombinedBits(OperatingSystemBits(), Played(lambda count: bytes(count - 1)), NoiseClaim())


# Reading.


def test_a_file_is_read_in_order_and_its_end_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "noise"
    path.write_bytes(bytes(range(100)))
    device = NoiseDevice(path)
    assert device.read(10) + device.read(80) == bytes(range(90))
    with pytest.raises(EntropyFailed, match="ended after 10 of 11 bytes"):
        device.read(11)
    device.close()
    device.close()


def test_a_silent_device_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "slow")
    device = NoiseDevice(tmp_path / "slow", patience_s=0.2)
    writer = os.open(tmp_path / "slow", os.O_WRONLY)
    os.write(writer, b"abc")
    with pytest.raises(EntropyFailed, match=r"gave 3 of 5 bytes in 0\.2 s"):
        device.read(5)
    os.write(writer, b"defgh")
    assert device.read(5) == b"defgh"
    os.close(writer)
    device.close()


def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="nowhere cannot be opened: no such file"):
        open_secrets(tmp_path / "nowhere", NoiseClaim())
    with pytest.raises(EntropyFailed, match="is a directory"):
        open_secrets(tmp_path, NoiseClaim())
    assert isinstance(open_secrets(None, NoiseClaim()), OperatingSystemBits)


def test_the_configuration_names_device_and_claim(tmp_path: Path) -> None:
    path = tmp_path / "station.toml"
    path.write_text(EXAMPLE)
    assert load(path).randomness.device == ""
    path.write_text(
        EXAMPLE.replace('device = ""', 'device = "/dev/hwrng"').replace("min_entropy = 1.0", "min_entropy = 4.0")
    )
    found = load(path).randomness
    assert (found.device, found.claim) == ("/dev/hwrng", NoiseClaim(min_entropy=4.0))
    path.write_text(EXAMPLE.replace("min_entropy = 1.0", "min_entropy = 9.0"))
    with pytest.raises(ParameterError, match=r"randomness\.min_entropy = 9\.0 must be in"):
        load(path)


def test_a_station_stops_when_its_noise_fails() -> None:
    """No other line would help, so the failure leaves the loop instead of being retried twice a second."""

    class Failing(StationLoop):
        async def serve_line(self, line: object) -> bool:
            raise EntropyFailed("the noise source failed its health test")

    class Line:
        async def close(self) -> None: ...

    told: list[object] = []
    loop = Failing(
        Role.ALICE,
        SessionParameters(),
        MemoryVault(bytes(64)),
        FixedBits("x"),
        Replay(EMPTY, simulated=True),
        lambda: Replay(EMPTY, simulated=True),
        on_block=told.append,
        on_abort=told.append,
        on_line=lambda state, why: told.append((state, why)),
    )
    with pytest.raises(EntropyFailed):
        asyncio.run(loop.attempt(Line()))  # type: ignore[arg-type]
    assert not told


@pytest.mark.parametrize(
    ("content", "well", "seen"),
    [
        (None, True, "none is needed"),
        (FixedBits("a good device").take_bytes(4096), True, "passes the start-up health test"),
        (bytes(4096), False, "failed its health test"),
        (b"short", False, "ended after 5 of 1024 bytes"),
    ],
)
def test_doctor_tries_a_noise_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, well: bool, seen: str
) -> None:
    device = tmp_path / "hwrng"
    if content is not None:
        device.write_bytes(content)
    monkeypatch.setattr(doctor, "NOISE_DEVICE", str(device))
    finding = doctor._noise()
    assert finding.well == well
    assert seen in finding.seen
    assert bool(finding.mend) == (not well)
