"""E91, one block: the stages in order, for Alice and for Bob. BBM92 (`qkd.bbm92`, to be read first) with a Bell test.

Ekert, PRL 67, 661 (1991): settings between those of the key are measured as well, and the correlations there violate
the CHSH inequality only as far as nobody holds a copy of the photons. Angles, and what each pair of settings is for:
`qkd.protocols`, also for the settings of Acin et al., PRL 98, 230501 (2007).

    sifting        times and settings become coincidences, all of them kept
    belltest       outcomes that give no key are told; counts, CHSH, and the key's two strings
    estimation     a small sample sizes the error correction; error rates and Bell test are judged together
    reconciliation, verification, assumptions     as in BBM92
    distillation   the tested counts bound the phase errors (`qkd.bellkey`): that says how long the key may be
    confirmation   as in BBM92

What is claimed. The analysers are trusted here, as in BBM92, and the key's length rests on their angles: S is judged
and reported, a failed test aborts, but no bit is claimed for S alone. Coincidences are a sample of the photons, so S
holds by fair sampling and nothing here is device-independent.
"""

from __future__ import annotations

from qkd import belltest, confirmation, distillation, estimation, sifting, verification
from qkd.assumptions import exchange as assumptions
from qkd.bbm92 import Outcome
from qkd.block import Vault
from qkd.exchange.handshake import SessionStart
from qkd.exchange.steps import Steps
from qkd.exchange.transcript import Transcript
from qkd.randomness import SecretBits
from qkd.reconciliation import frames
from qkd.session import SessionParameters
from qkd.station import Station


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
    """Alice's side of block `number`; arguments as in `qkd.bbm92.alice`.

    Raises:
        ProtocolAborted: no key from this block. RemoteProtocolError: the peer or Eve broke the rules.
    """
    kept = yield from sifting.alice(station, params)
    bell = yield from belltest.alice(kept, params)
    estimate = yield from belltest.judged(estimation.alice(bell.sifted, params, secrets), bell, params)
    corrected = yield from frames.alice(estimate, params, secrets, round_trip_s, kept.seconds)
    done = corrected.done
    verdict = yield from verification.alice(done.strings, done.errors, params.verify_bits, secrets)
    verified = frames.join(corrected, verdict, params.leak_model)
    findings = yield from assumptions.alice(station, bell.sifted, params)
    evidence = distillation.Evidence(bell.sifted, estimate, verified, findings, bell)
    secret = yield from distillation.alice(evidence, params, secrets, vault, start, number)
    confirmed = yield from confirmation.alice(secret, params, vault, transcript)
    return Outcome(confirmed, kept.ended)


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
    kept = yield from sifting.bob(station, params)
    bell = yield from belltest.bob(kept, params)
    estimate = yield from belltest.judged(estimation.bob(bell.sifted, params), bell, params)
    corrected = yield from frames.bob(estimate, params, secrets)
    verdict = yield from verification.bob(corrected.done.strings, corrected.before, params.verify_bits)
    verified = frames.join(corrected, verdict, params.leak_model)
    findings = yield from assumptions.bob(station, bell.sifted, params)
    evidence = distillation.Evidence(bell.sifted, estimate, verified, findings, bell)
    secret = yield from distillation.bob(evidence, params, start, number)
    confirmed = yield from confirmation.bob(secret, params, vault, transcript)
    return Outcome(confirmed, kept.ended)
