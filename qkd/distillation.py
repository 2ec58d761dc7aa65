"""From corrected strings to the secret block: how long it may be, and the hashing that makes it so.

Each basis is judged by the other: bits measured in Z are secret as far as the errors counted in X allow, and vice
versa (`qkd.finitekey`); the block's own leak ledger is charged under the session's leak model. Both sides compute both
lengths from the same counts, so Bob checks what Alice announces.
The seeds are drawn only now, after error correction, and each serves one string once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
from qkd.privacy import PaSeed, amplify
from qkd.randomness import SecretBits
from qkd.reconciliation.frames import Verified, VerifiedString
from qkd.reconciliation.ledger import LeakModel
from qkd.session import BlockReport, SessionParameters
from qkd.sifting import SiftedBlock

# A stock of pads that survives this many failed blocks.
PAD_RESERVE = 256
# Pads that a block has to bring which replaces all: four rounds, so that the next may fail three times.
LEAST_NEW_PADS = {role: 4 * count for role, count in TAGS.items()}

CLAIM = "coherent attacks, entropic uncertainty with the exact hypergeometric tail, trusted detectors"


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the stages before this one counted."""

    sifted: SiftedBlock
    estimate: Estimate
    verified: Verified

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
    """Secret bits of the Z string and of the X string; half of eps_sec each.

    Raises:
        QberTooHigh: the exact counts are above the limit. KeyTooShort: not one bit in both together.
    """
    check_counts(evidence.errors_z / evidence.known_z, evidence.errors_x / evidence.known_x, params.qber_limit)
    z, x = evidence.verified.z, evidence.verified.x
    from_z, from_x = both_bases_key_length(
        _counts(z, evidence.known_x + x.dropped, evidence.errors_x + x.dropped),
        _counts(x, evidence.known_z + z.dropped, evidence.errors_z + z.dropped),
        params.eps_sec,
    )
    if from_z.secret_bits + from_x.secret_bits == 0:
        raise KeyTooShort(max(from_z.raw, from_x.raw), len(evidence.sifted))
    return from_z, from_x


def _counts(key: VerifiedString, tested: int, errors: int) -> BasisCounts:
    return BasisCounts(
        key_bits=key.bits.size,
        test_bits=tested,
        test_errors=errors,
        leak_ec_bits=key.leak_bits,
        verify_bits=key.verify_bits,
        left_out_bits=key.revealed + key.dropped,
    )


def label(model: LeakModel, *, two_way: bool, simulated: bool) -> str:
    """What is claimed of a block's key, and on which assumptions.

    Counting one direction of a two-way protocol takes for granted that Bob's answers tell Eve nothing. That is
    nothing that we could argue, so the key is then not called composable, though it is as long as under
    ERROR_PATTERN_PUBLIC, whose argument covers it.
    """
    claims = {
        LeakModel.ERROR_PATTERN_PUBLIC: f"composable: {CLAIM}, error pattern public",
        LeakModel.BOTH_DIRECTIONS: f"composable: {CLAIM}, disclosures of both directions charged",
        LeakModel.ONE_WAY_PARITIES: f"composable: {CLAIM}, one-way error correction",
    }
    claim = claims[model]
    if model is LeakModel.ONE_WAY_PARITIES and two_way:
        claim = f"conditional on Bob's answers telling nothing, which is assumed: {CLAIM}"
    return claim + ("; simulated source" if simulated else "")


def _refill(vault: Vault, secret_bits: int) -> tuple[int, int]:
    """Pads to put back: what this block spends, if it can pay, and half of the rest while the stock is low."""
    spent = TAGS[Role.ALICE] + TAGS[Role.BOB]
    if secret_bits < PAD_BITS * spent:
        return 0, 0
    missing = {role: max(0, PAD_RESERVE - vault.pads_left(role)) for role in Role}
    room = (secret_bits // PAD_BITS - spent) // 2
    share = min(1.0, room / max(sum(missing.values()), 1))
    alice, bob = (TAGS[role] + int(missing[role] * share) for role in (Role.ALICE, Role.BOB))
    return alice, bob


def _new_stock(secret_bits: int, sifted_bits: int) -> tuple[int, int]:
    """Pads from a block that replaces all keys of the tags: half of it, at most the full reserve.

    Raises:
        KeyTooShort: it cannot pay for the hash keys and the least stock.
    """
    least = RENEWAL_BITS + PAD_BITS * sum(LEAST_NEW_PADS.values())
    if secret_bits < least:
        raise KeyTooShort.for_renewal(secret_bits, sifted_bits, least)
    room = max((secret_bits - RENEWAL_BITS) // PAD_BITS // 2, sum(LEAST_NEW_PADS.values()))
    # Shared out as the tags are, so that neither side's stock ends before the other's.
    rounds = room // sum(TAGS.values())
    return min(PAD_RESERVE, rounds * TAGS[Role.ALICE]), min(PAD_RESERVE, rounds * TAGS[Role.BOB])


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
        label=label(params.leak_model, two_way=verified.two_way, simulated=start.simulated)
        + start.beginning.claim(first=renews),
        reconciliation=verified.choice.method.value,
        reconciliation_reason=verified.choice.reason,
        leak_model=params.leak_model.value,
        alarms=evidence.sifted.alarms,
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
        renews=renews,
    )
