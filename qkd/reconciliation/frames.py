"""From a block's two strings to frames of equal size, through error correction, and back.

Alice chooses the method (`qkd.reconciliation.choice`) and names it to Bob. With the method's longest frame F, a string
of n bits becomes c = ceil(n / F) frames of n // c bits each; the n mod c < c bits left over at its end are dropped by
both sides. All frames of both bases are corrected in one batch, so a round trip is paid once a block.

Nothing is known of the errors among the dropped bits, and whoever knows where the string ends knows which they are:
`qkd.finitekey` takes them all for wrong where they would have been test bits, and for right where they would have
been key.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from qkd.bits import Bits
from qkd.errors import KeyTooShort, RemoteProtocolError
from qkd.estimation import Estimate
from qkd.exchange.messages import ReconciliationStart
from qkd.exchange.steps import Steps, receive, send
from qkd.randomness import SecretBits
from qkd.reconciliation.choice import MOST_REASON_CHARACTERS, Choice, Method, Task, choose, forced
from qkd.reconciliation.efficiency import shannon_limit_bits
from qkd.reconciliation.frame import Frame, Reconciled
from qkd.reconciliation.ledger import LeakModel
from qkd.reconciliation.methods import METHODS, roles
from qkd.session import SessionParameters
from qkd.verification import Verdict


@dataclass(frozen=True, slots=True, eq=False)
class Corrected:
    """The frames of both bases after error correction, not yet verified.

    Attributes:
        choice: the method, and why it was chosen.
        before: this station's frames as they were sifted, Z first.
        done: what error correction made of them.
        in_z: how many frames are of Z.
        dropped_z, dropped_x: bits left over by the framing.
    """

    choice: Choice
    before: tuple[Bits, ...] = field(repr=False)
    done: Reconciled
    in_z: int
    dropped_z: int
    dropped_x: int


@dataclass(frozen=True, slots=True, eq=False)
class VerifiedString:
    """One basis after verification.

    Attributes:
        bits: shape (n,), the frames that passed, joined: equal at both stations but for eps_cor.
        errors: how many bits differed in these frames; both sides know it.
        frames, failed_frames: how many were verified, and how many of these did not pass.
        revealed: bits of the failed frames, shown to all; revealed_errors: how many of them differed.
        dropped: bits left over by the framing, their errors unknown.
        leak_bits: what error correction disclosed of `bits`, as the leak model charges it.
        verify_bits: the same for the verification.
    """

    bits: Bits = field(repr=False)
    errors: int
    frames: int
    failed_frames: int
    revealed: int
    revealed_errors: int
    dropped: int
    leak_bits: int
    verify_bits: int

    @property
    def limit_bits(self) -> float:
        """The least a perfect one-way code would have disclosed of `bits` at this error rate."""
        return shannon_limit_bits(self.bits.size, self.errors / self.bits.size) if self.bits.size else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Verified:
    """Both bases after verification.

    Attributes:
        z, x: the strings.
        choice: how they were corrected. rounds: in how many messages each way.
        eps_cor: bound on the chance that the stations' strings differ in some bit.
    """

    z: VerifiedString
    x: VerifiedString
    choice: Choice
    rounds: int
    eps_cor: float

    @property
    def two_way(self) -> bool:
        """Bob said things that depend on his string before the verification."""
        return roles(self.choice.method).two_way


def alice(
    estimate: Estimate, params: SessionParameters, secrets: SecretBits, round_trip_s: float, seconds: float
) -> Steps[Corrected]:
    """Alice's part: choose, announce, and disclose; her strings stay as they are.

    Args:
        round_trip_s: of the line.
        seconds: how long the block took to detect; error correction must keep up.

    Raises:
        ParameterError: the method asked for is not installed. KeyTooShort: the strings are too short for it.
        RemoteProtocolError, ReconciliationFailed: see the method.
    """
    choice = _choice(estimate, params, round_trip_s, seconds)
    corrector = roles(choice.method).alice
    yield from send(ReconciliationStart(choice.method.value, choice.reason))
    frames, in_z = _split(estimate, choice.method)
    done = yield from corrector(frames, secrets)
    return _corrected(estimate, choice, frames, in_z, done)


def bob(estimate: Estimate, params: SessionParameters, secrets: SecretBits) -> Steps[Corrected]:
    """Bob's part: his strings become Alice's.

    Raises:
        RemoteProtocolError: Alice names a method that is not agreed, not installed, or unknown. See also `alice`.
    """
    choice = _agreed((yield from receive(ReconciliationStart)), params)
    frames, in_z = _split(estimate, choice.method)
    done = yield from roles(choice.method).bob(frames, secrets)
    return _corrected(estimate, choice, frames, in_z, done)


def join(corrected: Corrected, verdict: Verdict, model: LeakModel) -> Verified:
    """Take out the frames that failed and put the others together again.

    Args:
        corrected: the frames.
        verdict: what verification said of each.
        model: what of the disclosures is charged. Unless the error pattern is taken as public, Bob's word on a frame
            (equal or not, and the number of its errors) is charged as well.
    """
    leak = corrected.done.ledger.leak_bits(model)
    told = verdict.tag_bits if model is LeakModel.ERROR_PATTERN_PUBLIC else verdict.tag_bits + verdict.answer_bits

    def one(part: slice, dropped: int) -> VerifiedString:
        passed = verdict.equal[part]
        strings = [bits for bits, ok in zip(corrected.done.strings[part], passed, strict=True) if ok]
        errors, sizes = verdict.errors[part], verdict.sizes[part]
        return VerifiedString(
            bits=np.concatenate(strings) if strings else np.empty(0, np.uint8),
            errors=_sum(errors[passed]),
            frames=passed.size,
            failed_frames=passed.size - int(np.count_nonzero(passed)),
            revealed=_sum(sizes[~passed]),
            revealed_errors=_sum(errors[~passed]),
            dropped=dropped,
            leak_bits=_sum(leak[part][passed]),
            verify_bits=_sum(told[part][passed]),
        )

    z = one(slice(0, corrected.in_z), corrected.dropped_z)
    x = one(slice(corrected.in_z, None), corrected.dropped_x)
    return Verified(z, x, corrected.choice, corrected.done.rounds, verdict.eps_cor)


def _sum(counts: npt.NDArray[np.int64]) -> int:
    return int(counts.sum())


def _choice(estimate: Estimate, params: SessionParameters, round_trip_s: float, seconds: float) -> Choice:
    if params.reconciliation is not Method.AUTO:
        return forced(params.reconciliation)
    task = Task((estimate.z.size, estimate.x.size), _priors(estimate), round_trip_s)
    return choose(task, METHODS, min(params.reconciliation_seconds, seconds))


def _agreed(start: ReconciliationStart, params: SessionParameters) -> Choice:
    """Alice's choice, if it is one that she may make; her words may end up on a screen."""
    try:
        method = Method(start.method)
    except ValueError:
        raise RemoteProtocolError("the peer chooses an error correction that this side does not know") from None
    if method not in METHODS or params.reconciliation not in (Method.AUTO, method):
        raise RemoteProtocolError(f"the peer chooses {method.value}, agreed is {params.reconciliation.value}")
    if len(start.reason) > MOST_REASON_CHARACTERS or not (start.reason.isascii() and start.reason.isprintable()):
        raise RemoteProtocolError("the peer's reason for its choice is not one line of plain text")
    return Choice(method, start.reason)


def _priors(estimate: Estimate) -> tuple[float, float]:
    """Expected error rates by Laplace's rule, which keeps them off zero when the sample showed no error."""
    z = (estimate.errors_z + 1) / (estimate.sample_z + 2)
    x = (estimate.errors_x + 1) / (estimate.sample_x + 2)
    return z, x if estimate.x.size else z


def _split(estimate: Estimate, method: Method) -> tuple[list[Frame], int]:
    """The frames of both bases, Z first, and how many are of Z.

    Raises:
        KeyTooShort: a string is shorter than the method, which the session's parameters force, can take.
    """
    least = roles(method).least_bits
    shorter = min(estimate.z.size, estimate.x.size or estimate.z.size)
    if shorter < least:
        sifted = estimate.z.size + estimate.sample_z + estimate.x.size + estimate.sample_x
        raise KeyTooShort(0, sifted, -(-sifted * least // max(shorter, 1)))

    def one(bits: Bits, qber: float) -> list[Frame]:
        if not bits.size:
            return []
        count = max(1, -(-bits.size // roles(method).frame_bits))
        size = bits.size // count
        return [Frame(bits[i * size : (i + 1) * size], qber) for i in range(count)]

    z, x = (one(bits, qber) for bits, qber in zip((estimate.z, estimate.x), _priors(estimate), strict=True))
    return z + x, len(z)


def _corrected(estimate: Estimate, choice: Choice, frames: list[Frame], in_z: int, done: Reconciled) -> Corrected:
    before = tuple(frame.bits for frame in frames)
    used_z = sum(bits.size for bits in before[:in_z])
    used_x = sum(bits.size for bits in before[in_z:])
    return Corrected(choice, before, done, in_z, estimate.z.size - used_z, estimate.x.size - used_x)
