"""BBM92, one block: the stages in order, for Alice and for Bob. Read this file first.

Bennett, Brassard and Mermin, PRL 68, 557 (1992): both halves of an entangled pair are measured in one of two
conjugate bases; equal bases give correlated bits, and errors in one basis bound what anybody can know of the other.

    sifting        times and bases become same-basis bits
    estimation     a small sample sizes the error correction, or stops the block
    reconciliation Bob's bits become Alice's, frame by frame, by the method that suits the line and the error rate
    verification   universal hashes show which frames did; the others leave the key
    assumptions    each station says which of those that the claim rests on failed there
    distillation   the finite-key bound says how long, a universal hash makes it so
    confirmation   tags over every word that was said; only then the key exists

A role is a generator (`qkd.exchange.steps`); it shares nothing with the other one but messages. The block is the
unit of restart: whatever goes wrong before its end leaves no key at either side.
"""

from __future__ import annotations

from dataclasses import dataclass

from qkd import confirmation, distillation, estimation, sifting, verification
from qkd.assumptions import exchange as assumptions
from qkd.block import SecretBlock, Vault
from qkd.exchange.handshake import SessionStart
from qkd.exchange.steps import Steps
from qkd.exchange.transcript import Transcript
from qkd.randomness import SecretBits
from qkd.reconciliation import frames
from qkd.session import SessionParameters
from qkd.station import Station


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a role returns: the committed block, and whether a tagger has ended."""

    block: SecretBlock
    ended: bool


def alice(
    station: Station,
    params: SessionParameters,
    secrets: SecretBits,
    vault: Vault,
    start: SessionStart,
    number: int,
    transcript: Transcript,
    round_trip_s: float = 0.0,
) -> Steps[Outcome]:
    """Alice's side of block `number`; the arguments' types say what they are.

    `round_trip_s` is the line's round-trip time, by which she chooses the error correction; 0 on a line in memory.

    Raises:
        ProtocolAborted: no key from this block. RemoteProtocolError: the peer or Eve broke the rules.
    """
    sifted = yield from sifting.alice(station, params)
    estimate = yield from estimation.alice(sifted, params, secrets)
    corrected = yield from frames.alice(estimate, params, secrets, round_trip_s, sifted.seconds)
    done = corrected.done
    verdict = yield from verification.alice(done.strings, done.errors, params.verify_bits, secrets)
    findings = yield from assumptions.alice(station, sifted, params)
    evidence = distillation.Evidence(sifted, estimate, frames.join(corrected, verdict, params.leak_model), findings)
    secret = yield from distillation.alice(evidence, params, secrets, vault, start, number)
    confirmed = yield from confirmation.alice(secret, params, vault, transcript)
    return Outcome(confirmed, sifted.ended)


def bob(
    station: Station,
    params: SessionParameters,
    secrets: SecretBits,
    vault: Vault,
    start: SessionStart,
    number: int,
    transcript: Transcript,
) -> Steps[Outcome]:
    """Bob's side of block `number`; raises the same."""
    sifted = yield from sifting.bob(station, params)
    estimate = yield from estimation.bob(sifted, params)
    corrected = yield from frames.bob(estimate, params, secrets)
    verdict = yield from verification.bob(corrected.done.strings, corrected.before, params.verify_bits)
    findings = yield from assumptions.bob(station, sifted, params)
    evidence = distillation.Evidence(sifted, estimate, frames.join(corrected, verdict, params.leak_model), findings)
    secret = yield from distillation.bob(evidence, params, start, number)
    confirmed = yield from confirmation.bob(secret, params, vault, transcript)
    return Outcome(confirmed, sifted.ended)
