"""Runners for LDPC error correction, with codes that stand in the vectors."""

from __future__ import annotations

import numpy as np

from qkd.exchange.codec import decode, encode, pack_ascending
from qkd.exchange.engine import Engine
from qkd.exchange.messages import LdpcRequest, LdpcReveal, LdpcSyndromes
from qkd.exchange.steps import Role, Steps
from qkd.exchange.transcript import Transcript
from qkd.knownanswers.frame import Answer, Conversation, GivenBits, Json, Mismatch, Runner, bits_json, bits_of, integers
from qkd.reconciliation import ldpc
from qkd.reconciliation.adaption import Library
from qkd.reconciliation.codes import Code
from qkd.reconciliation.codewords import Codewords
from qkd.reconciliation.frame import Frame, Reconciled


def _code(value: Json) -> Code:
    entries = np.array(value["entries"], np.int32)
    return Code(
        name=value["name"],
        payload_bits=value["payloadBits"],
        lifting=value["lifting"],
        rows=value["rows"],
        columns=value["columns"],
        starts=np.searchsorted(entries[:, 0], np.arange(value["rows"] + 1)).astype(np.int32),
        column=np.ascontiguousarray(entries[:, 1]),
        shift=np.ascontiguousarray(entries[:, 2]),
        puncturable=np.array(value["puncturable"], np.int32),
        threshold_qber=0.0,
    )


def _library(group: Json) -> Library:
    codes = tuple(_code(value) for value in group["parameters"]["codes"])
    return {codes[0].payload_bits: codes}


def _preset(group: Json) -> ldpc.LdpcPreset:
    p = group["parameters"]
    return ldpc.LdpcPreset(
        "vector",
        p["linear"],
        p["spread"],
        tuple(p["iterations"]),
        tuple(p["steps"]),
        p["patience"],
        "a vector",
    )


def _secrets(test: Json) -> GivenBits:
    return GivenBits([test["seed"], test["filler"]])


def _ldpc(group: Json, test: Json) -> Answer:
    """Both roles. What Bob asks for is his own affair; it has to end in Alice's strings."""
    preset, library = _preset(group), _library(group)
    alice, bob = ([Frame(bits_of(f[who]), f["qber"]) for f in test["frames"]] for who in ("alice", "bob"))
    talk = Conversation()
    ours, theirs = talk.between(
        ldpc.alice(alice, preset, _secrets(test), library=library), ldpc.bob(bob, preset, library=library)
    )
    if ours.ledger.alice.tolist() != theirs.ledger.alice.tolist():
        raise Mismatch("the roles disagree on what was disclosed")
    first = decode(talk.messages[0][1])
    if not isinstance(first, LdpcSyndromes):
        raise Mismatch(f"a {type(first).__name__} opened the exchange")
    places = [
        {
            "code": piece.adapted.code.name,
            "punctured": piece.adapted.punctured.tolist(),
            "shortened": piece.adapted.shortened.tolist(),
        }
        for piece in Codewords(alice, preset.leak_bits, library).pieces
    ]
    expected: Json = {
        "corrected": [bits_json(bits) for bits in theirs.strings],
        "errors": theirs.errors.tolist(),
    }
    if not preset.steps:
        expected["leakEcBits"] = theirs.ledger.alice.tolist()
    return Answer(expected, {"places": places, "syndromes": first.bits.hex()})


def _reveal(group: Json, test: Json) -> Answer:
    """Alice against scripted requests."""
    frames = [Frame(bits_of(f["alice"]), f["qber"]) for f in test["frames"]]
    steps = ldpc.alice(frames, _preset(group), _secrets(test), library=_library(group))
    engine = Engine(Role.ALICE, steps, Transcript())
    engine.take_outgoing()
    answers = []
    for request in test["requests"]:
        positions = integers(request["positions"])
        engine.receive(encode(LdpcRequest(positions.size, *pack_ascending(positions), bytes.fromhex(request["more"]))))
        for encoded in engine.take_outgoing():
            answer = decode(encoded)
            if not isinstance(answer, LdpcReveal):
                raise Mismatch(f"a {type(answer).__name__} answers a request")
            answers.append(answer.bits.hex())
    ledger = engine.result.ledger
    return Answer({"revealed": answers, "leakEcBits": ledger.alice.tolist(), "leakBobBits": ledger.bob.tolist()})


def _hostile(group: Json, test: Json) -> Answer:
    """One role against scripted messages; only errors are expected of it."""
    frames = [Frame(bits_of(f["bits"]), f["qber"]) for f in test["frames"]]
    role, preset, library = Role(test["role"]), _preset(group), _library(group)
    steps: Steps[Reconciled] = (
        ldpc.alice(frames, preset, _secrets(test), library=library)
        if role is Role.ALICE
        else ldpc.bob(frames, preset, library=library)
    )
    engine = Engine(role, steps, Transcript())
    for encoded in test["received"]:
        engine.receive(bytes.fromhex(encoded))
    return Answer({})


RUNNERS: dict[str, Runner] = {
    "LdpcOneWayTest": _ldpc,
    "LdpcBlindTest": _ldpc,
    "LdpcRevealTest": _reveal,
    "LdpcHostileTest": _hostile,
}
