"""Runners for the stages after sifting: error correction, verification, privacy amplification, tags, key length."""

from __future__ import annotations

import hashlib

from qkd import finitekey, privacy, verification
from qkd.bits import Bits, pack
from qkd.exchange import auth
from qkd.exchange.codec import decode, encode
from qkd.exchange.engine import Engine
from qkd.exchange.messages import Message, Tag
from qkd.exchange.steps import Role, Steps
from qkd.exchange.transcript import Transcript
from qkd.knownanswers.frame import (
    Answer,
    Conversation,
    GivenBits,
    Json,
    Mismatch,
    Runner,
    bits_json,
    bits_of,
    integers,
)
from qkd.randomness import expand_bits, expand_permutation
from qkd.reconciliation import cascade
from qkd.reconciliation.frame import Frame, Reconciled
from qkd.testing import MemoryVault

# ------------------------------------------------------------------------------------------ error correction


def _preset(parameters: Json) -> cascade.CascadePreset:
    return cascade.CascadePreset(
        "vector",
        parameters["first"],
        parameters["second"],
        parameters["limit"],
        parameters["masks"],
        1 << 16,
        "a vector",
    )


def _reconcile(
    alice: list[Bits], bob: list[Bits], qbers: list[float], preset: cascade.CascadePreset, seed: str
) -> tuple[Reconciled, list[Message]]:
    """Both roles over the codec; Bob's result and all messages."""

    def frames(strings: list[Bits]) -> list[Frame]:
        return [Frame(bits, qber) for bits, qber in zip(strings, qbers, strict=True)]

    talk = Conversation()
    _, result = talk.between(cascade.alice(frames(alice), preset, GivenBits([seed])), cascade.bob(frames(bob), preset))
    return result, [decode(encoded) for _, encoded in talk.messages]


def _cascade(group: Json, test: Json) -> Answer:
    preset = _preset(group["parameters"])
    frames = test["frames"]
    qbers = [frame["qber"] for frame in frames]
    result, said = _reconcile(
        [bits_of(frame["alice"]) for frame in frames],
        [bits_of(frame["bob"]) for frame in frames],
        qbers,
        preset,
        group["randomness"]["seed"],
    )
    sizes = [frame["alice"]["bitLength"] for frame in frames]
    return Answer(
        {
            "corrected": [bits_json(bits) for bits in result.strings],
            "leakEcBits": result.ledger.alice.tolist(),
            "errors": result.errors.tolist(),
        },
        {
            "blockLengths": [
                [[cut.log, cut.wide, cut.blocks] for cut in preset.cuts(n, q)]
                for n, q in zip(sizes, qbers, strict=True)
            ],
            "parities": [m.bits.hex() for m in said[1::2]],  # type: ignore[attr-defined]
            "differences": [m.bits.hex() for m in said[2::2]],  # type: ignore[attr-defined]
        },
    )


def _cascade_hostile(group: Json, test: Json) -> Answer:
    """One role against scripted messages; only errors are expected of it."""
    preset = _preset(group["parameters"])
    frames = [Frame(bits_of(frame["bits"]), frame["qber"]) for frame in test["frames"]]
    role = Role(test["role"])
    steps: Steps[Reconciled] = (
        cascade.alice(frames, preset, GivenBits([group["randomness"]["seed"]]))
        if role is Role.ALICE
        else cascade.bob(frames, preset)
    )
    engine = Engine(role, steps, Transcript())
    for encoded in test["received"]:
        engine.receive(bytes.fromhex(encoded))
    return Answer({})


def _cascade_accumulated(group: Json, test: Json) -> Answer:
    preset = _preset(group["parameters"])
    n, qber = test["frameBits"], test["qber"]
    whole = hashlib.sha256()
    leak = errors = 0
    for run in range(test["runs"]):
        seed = hashlib.sha256(bytes.fromhex(group["randomness"]["seed"]) + run.to_bytes(4, "big")).digest()
        alice = expand_bits(seed, "alice", n)
        bob = alice.copy()
        bob[expand_permutation(seed, "errors", n)[: test["errorsPerRun"]]] ^= 1
        result, said = _reconcile([alice], [bob], [qber], preset, seed.hex())
        for message in said[1:]:
            whole.update(message.bits)  # type: ignore[attr-defined]
        whole.update(pack(result.strings[0]))
        leak += int(result.ledger.alice[0])
        errors += int(result.errors[0])
    return Answer({"sha256": whole.hexdigest(), "leakEcBits": leak, "errors": errors})


# ------------------------------------------------------------------- verification and privacy amplification


def _verification(group: Json, test: Json) -> Answer:
    """Both roles; Alice knows the numbers of corrected bits that are not -1."""
    tag_length = group["parameters"]["tagLength"]
    alice, bob, before = ([bits_of(bits) for bits in test[name]] for name in ("alice", "bob", "before"))
    talk = Conversation()
    ours, theirs = talk.between(
        verification.alice(alice, integers(test["known"]), tag_length, GivenBits([test["draw"]])),
        verification.bob(bob, before, tag_length),
    )
    found, other = _found(ours), _found(theirs)
    if found != other:
        raise Mismatch(f"the roles disagree on the frames: {found} and {other}")
    return Answer(found, {"messages": [encoded.hex() for _, encoded in talk.messages]})


def _found(verdict: verification.Verdict) -> Json:
    equal, errors, told = verdict.equal.tolist(), verdict.errors.tolist(), verdict.tag_bits.tolist()
    return {"equal": equal, "errors": errors, "tagBits": told}


def _verification_hostile(group: Json, test: Json) -> Answer:
    """One role against scripted messages; only errors are expected of it."""
    role, tag_length = Role(test["role"]), group["parameters"]["tagLength"]
    frames = [bits_of(bits) for bits in test["frames"]]
    steps = (
        verification.alice(frames, integers(test["known"]), tag_length, GivenBits([test["draw"]]))
        if role is Role.ALICE
        else verification.bob(frames, frames, tag_length)
    )
    engine = Engine(role, steps, Transcript())
    for encoded in test["received"]:
        engine.receive(bytes.fromhex(encoded))
    return Answer({})


def _privacy(_group: Json, test: Json) -> Answer:
    corrected = bits_of(test["input"])
    seed = privacy.PaSeed.received(corrected, bytes.fromhex(test["seed"]))
    return Answer({"key": bits_json(privacy.amplify(corrected, test["length"], seed))})


def _privacy_accumulated(group: Json, test: Json) -> Answer:
    n, length = test["inputBits"], test["length"]
    whole = hashlib.sha256()
    for run in range(test["runs"]):
        seed = hashlib.sha256(bytes.fromhex(group["randomness"]["seed"]) + run.to_bytes(4, "big")).digest()
        corrected = expand_bits(seed, "input", n)
        drawn = privacy.PaSeed.received(corrected, pack(expand_bits(seed, "seed", n - 1)))
        whole.update(pack(privacy.amplify(corrected, length, drawn)))
    return Answer({"sha256": whole.hexdigest()})


# ------------------------------------------------------------------------------------------- authentication


def _poly1305(_group: Json, test: Json) -> Answer:
    r, s, message = (bytes.fromhex(test[name]) for name in ("hashKey", "pad", "message"))
    return Answer({"tag": auth.wegman_carter_tag(r, s, message).hex()})


def _tag_context(group: Json, test: Json) -> Answer:
    """The sender makes the tag over what was said; the receiver checks `presented` (else that tag) over what it saw."""
    sender, stage = Role(test["sender"]), auth.Stage[test["stage"].upper()]
    pre_shared = bytes.fromhex(group["randomness"]["preSharedSecret"])
    sent = _one_tag(pre_shared, sender, stage, test, "said")
    presented = encode(Tag(test["presented"]["pad"], bytes.fromhex(test["presented"]["tag"])))
    transcript, context = _as_seen(test["seen"])
    vault = MemoryVault(pre_shared)
    checker = Engine(sender.peer, auth.check_tag(vault, sender.peer, context, transcript, stage), transcript)
    checker.receive(presented)
    if checker.result != auth.PAD_BITS:
        raise Mismatch(f"a tag cost {checker.result} bits")
    return Answer({"pad": sent.pad, "tag": sent.tag.hex()}, {"tagged": _tagged(sender, stage, test["said"]).hex()})


def _one_tag(pre_shared: bytes, sender: Role, stage: auth.Stage, test: Json, view: str) -> Tag:
    transcript, context = _as_seen(test[view])
    vault = MemoryVault(pre_shared)
    for _ in range(test["padsUsed"]):
        vault.take_pad(sender, 0.0)
    maker = Engine(sender, auth.send_tag(vault, sender, context, transcript, stage), transcript)
    tag = decode(maker.take_outgoing()[0])
    if not isinstance(tag, Tag):
        raise Mismatch(f"a {type(tag).__name__} was sent where a tag is due")
    return tag


def _as_seen(view: Json) -> tuple[Transcript, auth.TagContext]:
    transcript = Transcript()
    for message in view["transcript"]:
        transcript.add(Role(message["sender"]), bytes.fromhex(message["encoded"]))
    context = auth.TagContext(
        session_id=bytes.fromhex(view["sessionId"]),
        block=view["block"],
        parameters=view["agreed"].encode(),
        software=view["software"].encode(),
    )
    return transcript, context


def _tagged(sender: Role, stage: auth.Stage, view: Json) -> bytes:
    transcript, context = _as_seen(view)
    return auth.header(context, sender, stage, len(transcript)) + transcript.recorded()


# ----------------------------------------------------------------------------------------------- key length


def _key_length(group: Json, test: Json) -> Answer:
    counts = finitekey.BasisCounts(
        key_bits=test["keyBits"],
        test_bits=test["testBits"],
        test_errors=test["testErrors"],
        leak_ec_bits=test["leakEcBits"],
        verify_bits=test["verifyBits"],
        left_out_bits=test.get("leftOutBits", 0),
    )
    best = finitekey.basis_key_length(counts, group["parameters"]["epsSec"])
    return Answer(
        {"secretBits": best.secret_bits}, {"raw": best.raw, "phaseErrors": best.phase_errors, "epsPa": best.eps_pa}
    )


def _both_bases(group: Json, test: Json) -> Answer:
    z, x = (
        finitekey.BasisCounts(
            key_bits=counts["keyBits"],
            test_bits=counts["testBits"],
            test_errors=counts["testErrors"],
            leak_ec_bits=counts["leakEcBits"],
            verify_bits=counts["verifyBits"],
            left_out_bits=counts["leftOutBits"],
        )
        for counts in (test["z"], test["x"])
    )
    eps_sec = group["parameters"]["epsSec"]
    parts = finitekey.split_over_bases(z.key_bits + z.left_out_bits, x.key_bits + x.left_out_bits, eps_sec)
    from_z, from_x = finitekey.both_bases_key_length(z, x, eps_sec)
    return Answer(
        {"secretBitsZ": from_z.secret_bits, "secretBitsX": from_x.secret_bits},
        {"rawZ": from_z.raw, "rawX": from_x.raw, "epsSecZ": parts[0], "epsSecX": parts[1]},
    )


def _phase_errors(group: Json, test: Json) -> Answer:
    e = finitekey.phase_error_bound(test["keyBits"], test["testBits"], test["testErrors"], group["parameters"]["epsSm"])
    return Answer({"phaseErrors": e})


RUNNERS: dict[str, Runner] = {
    "CascadeTest": _cascade,
    "CascadeHostileTest": _cascade_hostile,
    "CascadeAccumulatedTest": _cascade_accumulated,
    "VerificationTest": _verification,
    "VerificationHostileTest": _verification_hostile,
    "PrivacyTest": _privacy,
    "PrivacyAccumulatedTest": _privacy_accumulated,
    "Poly1305Test": _poly1305,
    "TagTest": _tag_context,
    "KeyLengthTest": _key_length,
    "BothBasesTest": _both_bases,
    "PhaseErrorTest": _phase_errors,
}
