"""From corrected strings to the secret block: how long it may be, and the hashing that makes it so.

Each basis is judged by the other: bits measured in Z are secret as far as the errors counted in X allow, and vice
versa (`qkd.finitekey`); the block's own leak ledger is charged under the session's leak model. Both sides compute both
lengths from the same counts, so Bob checks what Alice announces.
The seeds are drawn only now, after error correction, and each serves one string once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qkd.assumptions.claim import NOTHING_FAILED, Claim, Findings, Judged, judge
from qkd.assumptions.exchange import ANNOUNCED_BITS
from qkd.assumptions.judge import common_failures
from qkd.bellkey import bell_key_length, times_as_many
from qkd.belltest import UNEVEN, Told
from qkd.bits import pack
from qkd.block import RENEWAL_BITS, SecretBlock, Vault
from qkd.confirmation import TAGS
from qkd.errors import KeyTooShort, RemoteProtocolError
from qkd.estimation import Estimate, check_counts
from qkd.exchange.auth import PAD_BITS
from qkd.exchange.handshake import SessionStart
from qkd.exchange.messages import Amplify
from qkd.exchange.steps import Role, Steps, receive, send
from qkd.finitekey import BasisCounts, KeyLength, both_bases_key_length
from qkd.leastblock import least_alike
from qkd.privacy import PaSeed, amplify
from qkd.protocols import settings_of
from qkd.randomness import SecretBits
from qkd.reconciliation.frames import Verified, VerifiedString
from qkd.reconciliation.ledger import LeakModel
from qkd.session import BlockReport, SessionParameters
from qkd.sifting import SiftedBlock

# How many pads of each sender refills aim at, the locked reserve of the store among them.
PAD_STOCK = 256
# Pads that a block has to bring which replaces all: four rounds, so that the next may fail three times.
LEAST_NEW_PADS = {role: 4 * count for role, count in TAGS.items()}

CLAIM = "coherent attacks, entropic uncertainty with the exact hypergeometric tail, trusted detectors"

BELL_CLAIM = "coherent attacks, phase errors bounded by the tested settings (Ville), trusted analysers"


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the stages before this one counted; `bell` where the protocol has a Bell test."""

    sifted: SiftedBlock
    estimate: Estimate
    verified: Verified
    findings: Findings = NOTHING_FAILED
    bell: Told | None = None

    @property
    def errors_z(self) -> int:
        """Differing bits in Z: sample, key and failed frames."""
        return self.estimate.errors_z + self.verified.z.errors + self.verified.z.revealed_errors

    @property
    def errors_x(self) -> int:
        """Differing bits in X: sample, key and failed frames."""
        return self.estimate.errors_x + self.verified.x.errors + self.verified.x.revealed_errors

    @property
    def known_z(self) -> int:
        """Bits in Z whose errors were counted."""
        return self.estimate.sample_z + self.verified.z.bits.size + self.verified.z.revealed

    @property
    def known_x(self) -> int:
        """Bits in X whose errors were counted."""
        return self.estimate.sample_x + self.verified.x.bits.size + self.verified.x.revealed


def alice(
    evidence: Evidence, params: SessionParameters, secrets: SecretBits, vault: Vault, start: SessionStart, number: int
) -> Steps[SecretBlock]:
    """Alice's part: decide, draw the seeds, hash.

    Raises:
        QberTooHigh, KeyTooShort: no key from this block.
    """
    z, x = lengths(evidence, params)
    seed_z = PaSeed.draw(evidence.verified.z.bits, secrets)
    seed_x = PaSeed.draw(evidence.verified.x.bits, secrets)
    if start.renews(number):
        refill_alice, refill_bob = _new_stock(z.secret_bits + x.secret_bits, len(evidence.sifted))
    else:
        refill_alice, refill_bob = _refill(vault, z.secret_bits + x.secret_bits)
    message = Amplify(seed_z.to_bytes(), seed_x.to_bytes(), z.secret_bits, x.secret_bits, refill_alice, refill_bob)
    yield from send(message)
    return _block(evidence, params, (z, x), (seed_z, seed_x), message, start, number)


def bob(evidence: Evidence, params: SessionParameters, start: SessionStart, number: int) -> Steps[SecretBlock]:
    """Bob's part: check and hash; raises the same, and RemoteProtocolError when Alice's numbers are not his."""
    z, x = lengths(evidence, params)
    message = yield from receive(Amplify)
    if (message.length_z, message.length_x) != (z.secret_bits, x.secret_bits):
        raise RemoteProtocolError(
            f"Alice would make {message.length_z} + {message.length_x} bits,"
            f" the bound gives {z.secret_bits} + {x.secret_bits}"
        )
    pads = (message.refill_alice, message.refill_bob)
    renews = start.renews(number)
    least = (LEAST_NEW_PADS[Role.ALICE], LEAST_NEW_PADS[Role.BOB]) if renews else (0, 0)
    room = z.secret_bits + x.secret_bits - RENEWAL_BITS * renews
    if pads[0] < least[0] or pads[1] < least[1] or PAD_BITS * sum(pads) > room:
        raise RemoteProtocolError(f"a refill of {pads[0]} + {pads[1]} pads does not fit the block")
    seed_z = PaSeed.received(evidence.verified.z.bits, message.seed_z)
    seed_x = PaSeed.received(evidence.verified.x.bits, message.seed_x)
    return _block(evidence, params, (z, x), (seed_z, seed_x), message, start, number)


def lengths(evidence: Evidence, params: SessionParameters) -> tuple[KeyLength, KeyLength]:
    """Secret bits of the Z string and of the X string, together eps_sec-secret.

    Raises:
        QberTooHigh: the exact counts are above the limit. KeyTooShort: not one bit in both together; it says how large
            a block of these error rates and this leak would have to be.
    """
    check_counts(evidence.errors_z / evidence.known_z, evidence.errors_x / max(1, evidence.known_x), params.qber_limit)
    z, x = evidence.verified.z, evidence.verified.x
    if evidence.bell is not None:
        return _lengths_by_test(evidence, evidence.bell, params)
    in_z = _counts(z, evidence.known_x + x.dropped, evidence.errors_x + x.dropped)
    in_x = _counts(x, evidence.known_z + z.dropped, evidence.errors_z + z.dropped)
    from_z, from_x = both_bases_key_length(in_z, in_x, params.eps_sec)
    if from_z.secret_bits + from_x.secret_bits == 0:
        least = least_alike(in_z, in_x, params.eps_sec)
        raise KeyTooShort(max(from_z.raw, from_x.raw), len(evidence.sifted), least)
    return from_z, from_x


def _lengths_by_test(evidence: Evidence, bell: Told, params: SessionParameters) -> tuple[KeyLength, KeyLength]:
    """The same from the tested pairs of settings (`qkd.bellkey`), eps_sec shared among the strings that there are.

    The least size is that of this block times a power of two.
    """
    from_z, from_x = _by_test(evidence, bell, params, 1)
    if from_z.secret_bits + from_x.secret_bits == 0:
        factors = (2**j for j in range(1, 21))
        enough = next((f for f in factors if sum(k.secret_bits for k in _by_test(evidence, bell, params, f))), None)
        least = None if enough is None else enough * len(evidence.sifted)
        raise KeyTooShort(max(from_z.raw, from_x.raw), len(evidence.sifted), least)
    return from_z, from_x


def _by_test(evidence: Evidence, bell: Told, params: SessionParameters, factor: int) -> tuple[KeyLength, KeyLength]:
    """The lengths of a block of `factor` times the size that is like this one otherwise."""
    keys = settings_of(params.protocol).keys
    lengths = [KeyLength(raw=0, phase_errors=0, eps_sm=0.0, eps_pa=0.0)] * 2
    for i, (pair, string) in enumerate(zip(keys, (evidence.verified.z, evidence.verified.x), strict=False)):
        disclosed = factor * (string.leak_bits + string.verify_bits) + ANNOUNCED_BITS
        counts = times_as_many(bell.counts(pair), factor)
        lengths[i] = bell_key_length(counts, factor * string.bits.size, disclosed, params.eps_sec / len(keys))
    return lengths[0], lengths[1]


def _counts(key: VerifiedString, tested: int, errors: int) -> BasisCounts:
    return BasisCounts(
        key_bits=key.bits.size,
        test_bits=tested,
        test_errors=errors,
        leak_ec_bits=key.leak_bits,
        verify_bits=key.verify_bits + ANNOUNCED_BITS,
        left_out_bits=key.revealed + key.dropped,
    )


_CHARGED = {
    LeakModel.ERROR_PATTERN_PUBLIC: "error pattern public",
    LeakModel.BOTH_DIRECTIONS: "disclosures of both directions charged",
    LeakModel.ONE_WAY_PARITIES: "one-way error correction",
}


def judged(findings: Findings, params: SessionParameters, *, two_way: bool, bell: Told | None = None) -> Judged:
    """What may be claimed of a block's key, and what failed.

    Counting one direction of a two-way protocol takes for granted that Bob's answers tell Eve nothing. That is
    nothing that we could argue, so the key is then not called composable, though it is as long as under
    ERROR_PATTERN_PUBLIC, whose argument covers it.
    """
    assumed = two_way and params.leak_model is LeakModel.ONE_WAY_PARITIES
    uneven = bell is not None and bell.evenness < UNEVEN
    return judge(findings, common_failures(params, answers_assumed=assumed, settings_uneven=uneven))


def label(verdict: Judged, params: SessionParameters, *, simulated: bool) -> str:
    """The claim in one line: on which theorem it rests, how disclosures were charged, and what failed."""
    tested = settings_of(params.protocol).tested
    theorem = BELL_CLAIM if tested else CLAIM
    bound = theorem if verdict.claim is Claim.COMPOSABLE else f"length by the bound for {theorem}"
    bell = "; Bell test: fair sampling" if tested else ""
    return verdict.text(f"{bound}, {_CHARGED[params.leak_model]}{bell}", simulated=simulated)


def _refill(vault: Vault, secret_bits: int) -> tuple[int, int]:
    """Pads to put back: what this block spends, if it can pay, and half of the rest while the stock is low."""
    spent = TAGS[Role.ALICE] + TAGS[Role.BOB]
    if secret_bits < PAD_BITS * spent:
        return 0, 0
    missing = {role: max(0, PAD_STOCK - vault.pads_left(role)) for role in Role}
    room = (secret_bits // PAD_BITS - spent) // 2
    share = min(1.0, room / max(sum(missing.values()), 1))
    alice, bob = (TAGS[role] + int(missing[role] * share) for role in (Role.ALICE, Role.BOB))
    return alice, bob


def _new_stock(secret_bits: int, sifted_bits: int) -> tuple[int, int]:
    """Pads from a block that replaces all keys of the tags: half of it, at most a full stock.

    Raises:
        KeyTooShort: it cannot pay for the hash keys and the least stock.
    """
    least = RENEWAL_BITS + PAD_BITS * sum(LEAST_NEW_PADS.values())
    if secret_bits < least:
        raise KeyTooShort.for_renewal(secret_bits, sifted_bits, least)
    room = max((secret_bits - RENEWAL_BITS) // PAD_BITS // 2, sum(LEAST_NEW_PADS.values()))
    # Shared out as the tags are, so that neither side's stock ends before the other's.
    rounds = room // sum(TAGS.values())
    return min(PAD_STOCK, rounds * TAGS[Role.ALICE]), min(PAD_STOCK, rounds * TAGS[Role.BOB])


def _block(
    evidence: Evidence,
    params: SessionParameters,
    found: tuple[KeyLength, KeyLength],
    seeds: tuple[PaSeed, PaSeed],
    message: Amplify,
    start: SessionStart,
    number: int,
) -> SecretBlock:
    verified = evidence.verified
    z, x = verified.z, verified.x
    key = np.concatenate(
        [amplify(z.bits, found[0].secret_bits, seeds[0]), amplify(x.bits, found[1].secret_bits, seeds[1])]
    )
    renews = start.renews(number)
    refill_bits = PAD_BITS * (message.refill_alice + message.refill_bob) + RENEWAL_BITS * renews
    verdict = judged(evidence.findings, params, two_way=verified.two_way, bell=evidence.bell)
    report = BlockReport(
        block=number,
        detections=evidence.sifted.detections,
        double_clicks=evidence.sifted.double_clicks,
        coincidences=evidence.sifted.coincidences,
        sifted_z=evidence.known_z + z.dropped,
        sifted_x=evidence.known_x + x.dropped,
        sample_z=evidence.estimate.sample_z,
        sample_x=evidence.estimate.sample_x,
        frames=z.frames + x.frames,
        failed_frames=z.failed_frames + x.failed_frames,
        revealed_z=z.revealed,
        revealed_x=x.revealed,
        errors_z=evidence.errors_z,
        errors_x=evidence.errors_x,
        dropped_z=z.dropped,
        dropped_x=x.dropped,
        leak_ec_bits=z.leak_bits + x.leak_bits,
        ec_limit_bits=z.limit_bits + x.limit_bits,
        verify_bits=z.verify_bits + x.verify_bits,
        rounds=verified.rounds,
        phase_errors_z=found[0].phase_errors,
        phase_errors_x=found[1].phase_errors,
        secret_bits=int(key.size),
        delivered_bits=int(key.size) - refill_bits,
        auth_bits_refilled=refill_bits,
        eps_sec=params.eps_sec,
        eps_cor=verified.eps_cor,
        label=label(verdict, params, simulated=start.simulated) + start.beginning.claim(first=renews),
        reconciliation=verified.choice.method.value,
        reconciliation_reason=verified.choice.reason,
        leak_model=params.leak_model.value,
        alarms=evidence.sifted.alarms,
        announced_bits=ANNOUNCED_BITS * sum(key.bits.size > 0 for key in (z, x)),
        claim=verdict.claim.value,
        failed_assumptions=verdict.failed,
        muted=evidence.sifted.muted,
        assumptions=evidence.findings.own,
        bell_wins=evidence.bell.wins if evidence.bell else (),
        bell_trials=evidence.bell.trials if evidence.bell else (),
    )
    return SecretBlock(
        number=number,
        session_id=start.session_id,
        key=pack(key),
        bits=int(key.size),
        refill_alice=message.refill_alice,
        refill_bob=message.refill_bob,
        report=report,
        simulated=start.simulated,
        software=start.software,
        renews=renews,
    )
