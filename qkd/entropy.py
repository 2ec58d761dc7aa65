"""Optional hardware entropy: raw noise is tested for health, conditioned, and XORed onto the operating system's bits.

Health tests of NIST SP 800-90B (January 2018), on the raw samples and all of them, for a claimed min-entropy of H bits
a sample and a false alarm probability alpha a test:

    repetition count (4.4.1)     fails at C equal samples in a row, C = 1 + ceil(-log2(alpha) / H)
    adaptive proportion (4.4.2)  fails when the first sample of a window of W comes C times in it,
                                 C = 1 + critbinom(W, 2^-H, 1 - alpha); W = 1024 for bits, 512 for larger samples
    start-up (4.3)               both tests over the first 1024 samples, which are then thrown away

They tell a noise source that broke, not one that is weak by design or controlled by somebody: H is the maker's claim.
So nothing rests on the device alone. With k_0 empty and raw_i the samples fetched for the i-th request,

    k_i   = SHA-512(DOMAIN || "key" || k_(i-1) || raw_i)        raw_i: at least 512 bits of claimed min-entropy
    out_i = operating system's bytes XOR SHAKE-256(DOMAIN || "out" || k_i)

Whatever the device gives, XOR with bytes that do not depend on it leaves the operating system's as unpredictable as
they were; and if those could be predicted, what the device gave remains. Once a test has failed nothing is handed out
any more: the operator asked for this device and has to know.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import bdtrc

from qkd.errors import EntropyFailed, ParameterError
from qkd.randomness import SecretBits

STARTUP_SAMPLES = 1024
CONDITIONED_BITS = 512
# Two tests a sample at 2^-30: one false alarm in 10^9 samples or more. SP 800-90B recommends 2^-20 to 2^-40.
ALPHA_EXPONENT = 30
DOMAIN = b"entangled-qkd noise"
LEAST_MIN_ENTROPY = 0.01

Samples = npt.NDArray[np.uint8]


class NoiseSource(Protocol):
    """A device's raw samples, packed into bytes, in the order in which they were made."""

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes that were never handed out before. Raises EntropyFailed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseClaim:
    """What the maker of a device claims of it.

    Attributes:
        sample_bits: 1 = each bit is a sample, most significant of a byte first; 8 = each byte is one.
        min_entropy: bits of min-entropy of a sample, 0.01 .. sample_bits.
        alpha_exponent: false alarm probability of a test is 2 to the minus this, 20 .. 40.

    Raises:
        ParameterError: a value out of range.
    """

    sample_bits: int = 8
    min_entropy: float = 1.0
    alpha_exponent: int = ALPHA_EXPONENT

    def __post_init__(self) -> None:
        if self.sample_bits not in (1, 8):
            raise ParameterError(f"sample_bits = {self.sample_bits} must be 1 or 8")
        if not LEAST_MIN_ENTROPY <= self.min_entropy <= self.sample_bits:
            raise ParameterError(
                f"min_entropy = {self.min_entropy} must be in {LEAST_MIN_ENTROPY} .. {self.sample_bits} bits a sample"
            )
        if not 20 <= self.alpha_exponent <= 40:
            raise ParameterError(f"alpha_exponent = {self.alpha_exponent} must be in 20 .. 40")

    @property
    def window(self) -> int:
        """Samples in a window of the adaptive proportion test."""
        return 1024 if self.sample_bits == 1 else 512

    @property
    def repetition_cutoff(self) -> int:
        """So many equal samples in a row are a failure (SP 800-90B, 4.4.1)."""
        return 1 + math.ceil(self.alpha_exponent / self.min_entropy)

    @property
    def proportion_cutoff(self) -> int:
        """So many samples of a window that equal its first are a failure (4.4.2): the least C with P(X >= C) <= alpha.

        X is binomial over a window with probability 2^-min_entropy. Where even a window of equal samples is likelier
        than alpha, the test cannot tell, and C is one more than the window.
        """
        counts = np.arange(self.window + 1)
        tails = bdtrc(counts - 1.0, self.window, 2.0**-self.min_entropy)  # P(X >= count); 1 for count 0
        above = tails[1:] > 2.0**-self.alpha_exponent
        return 1 + int(above.sum())

    def bytes_for(self, bits: float) -> int:
        """How many bytes of raw samples carry this much claimed min-entropy."""
        samples = math.ceil(bits / self.min_entropy)
        return -(-samples * self.sample_bits // 8)

    def samples(self, raw: bytes) -> Samples:
        """Raw bytes as samples, shape (n,), uint8."""
        read = np.frombuffer(raw, np.uint8)
        return np.unpackbits(read) if self.sample_bits == 1 else read


class HealthTests:
    """The two continuous tests of one device; they see every sample, and a failure is for good.

    Args:
        claim: what is claimed of the device.
    """

    def __init__(self, claim: NoiseClaim) -> None:
        self._claim = claim
        self._repetition_cutoff = claim.repetition_cutoff
        self._proportion_cutoff = claim.proportion_cutoff
        self._last = -1
        self._run = 0
        self._window: Samples = np.empty(0, np.uint8)
        self._failure = ""

    def feed(self, samples: Samples) -> None:
        """Test the next samples, shape (n,), uint8, in order.

        Raises:
            EntropyFailed: a test failed, now or before.
        """
        if self._failure:
            raise self._error()
        if samples.size:
            self._count_repetitions(samples)
            self._count_proportions(samples)

    def _count_repetitions(self, samples: Samples) -> None:
        starts = np.concatenate([[0], np.nonzero(np.diff(samples))[0] + 1, [samples.size]])
        runs = np.diff(starts)
        if samples[0] == self._last:
            runs[0] += self._run
        self._last, self._run = int(samples[-1]), int(runs[-1])
        longest = int(runs.max())
        if longest >= self._repetition_cutoff:
            self._fail(f"{longest} equal samples in a row, {self._repetition_cutoff} are a failure (repetition count)")

    def _count_proportions(self, samples: Samples) -> None:
        size = self._claim.window
        joined = np.concatenate([self._window, samples])
        for start in range(0, joined.size, size):
            window = joined[start : start + size]
            equal = int(np.count_nonzero(window == window[0]))
            if equal >= self._proportion_cutoff:
                self._fail(
                    f"one value came {equal} times in {window.size} samples,"
                    f" {self._proportion_cutoff} in {size} are a failure (adaptive proportion)"
                )
        self._window = joined[joined.size - joined.size % size :]

    def _fail(self, what: str) -> None:
        self._failure = what
        raise self._error()

    def _error(self) -> EntropyFailed:
        return EntropyFailed(
            f"the noise source failed its health test: {self._failure}",
            hint="check the device and its claimed min_entropy; or remove randomness.device to do without it",
        )


class CombinedBits:
    """`SecretBits` from a noise device and another source, unpredictable as long as either is.

    Args:
        other: the operating system's generator.
        device: raw noise.
        claim: what is claimed of it.

    Raises:
        EntropyFailed: the device fails the start-up test, or cannot be read.
    """

    def __init__(self, other: SecretBits, device: NoiseSource, claim: NoiseClaim) -> None:
        self._other = other
        self._device = device
        self._claim = claim
        self._tests = HealthTests(claim)
        self._key = b""
        self._tested(STARTUP_SAMPLES * claim.sample_bits // 8)

    def take_bytes(self, count: int) -> bytes:
        """`count` fresh bytes. Raises EntropyFailed."""
        raw = self._tested(self._claim.bytes_for(CONDITIONED_BITS))
        self._key = hashlib.sha512(DOMAIN + b"key" + self._key + raw).digest()
        noise = hashlib.shake_256(DOMAIN + b"out" + self._key).digest(count)
        other = np.frombuffer(self._other.take_bytes(count), np.uint8)
        return (other ^ np.frombuffer(noise, np.uint8)).tobytes()

    def _tested(self, count: int) -> bytes:
        raw = self._device.read(count)
        if len(raw) != count:
            raise EntropyFailed(f"the noise source gave {len(raw)} bytes where {count} were asked for")
        self._tests.feed(self._claim.samples(raw))
        return raw
