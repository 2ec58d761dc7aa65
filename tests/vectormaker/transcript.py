"""The full transcript of a BBM92 block: recorded from the product, then recomputed stage by stage from references.

No second implementation of the whole protocol exists, so its messages are recorded. `recompute` then derives from the
tags, the labels and the recorded choices (which events Alice keeps) every bit that follows: sample, parities, tags,
lengths, key; `full` refuses to write a recording that does not follow.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from distribution.formats.s15 import decode_words
from distribution.sources.replay import Replay
from qkd.link import Link, Side
from qkd.randomness import FixedBits
from qkd.reconciliation.choice import Method
from qkd.session import SessionParameters
from qkd.testing import MemoryVault
from tests.reference import cascade as reference_cascade
from tests.reference import finitekey as reference
from tests.vectormaker import finitekey, hashing
from tests.vectormaker.cascade import Preset
from tests.vectormaker.coding import words
from tests.vectormaker.frame import (
    HEX,
    NATURAL,
    SHA256,
    TEXT,
    Flag,
    GroupSchema,
    Json,
    Source,
    array,
    case,
    document,
    file_schema,
    group,
    obj,
    pack,
)
from tests.vectormaker.primitives import expand_permutation, fixed_bytes, poly1305, to_bits
from tests.vectormaker.sifting import Click, grouped, judged

PRE_SHARED = fixed_bytes("transcript/bbm92", 1, 16 * 18)
LABELS = {"alice": "transcript/bbm92/alice", "bob": "transcript/bbm92/bob"}
PARAMETERS = SessionParameters(
    epoch_s=0.05,
    clock_uncertainty_s=0.01,
    block_bits=2700,
    least_block_bits=1000,
    verify_bits=32,
    eps_sec=1e-6,
    reconciliation=Method.CASCADE_FAST,
)
# The "fast" preset of qkd/reconciliation/cascade.py, written out: a change there must show here.
PRESET = Preset(1.1, 3.2, 1 << 20, 16)
# One bit for each of the seven assumptions that a station judges from its data, and each station.
ANNOUNCED_BITS = 14

# ------------------------------------------------------------------------------------------------------- schema

_ROLE: Json = {"enum": ["alice", "bob"]}
_EACH = obj({"alice": HEX, "bob": HEX})
_PARAMETERS: Json = {
    "session": {"type": "object"},
    "tags": _EACH,
    "messages": array(obj({"sender": _ROLE, "kind": TEXT, "encoded": HEX})),
}
_COUNTS = ("siftedZ", "siftedX", "errorsZ", "errorsX", "leakEcBits", "phaseErrorsZ", "phaseErrorsX")
SCHEMA = file_schema(
    "QKD-BBM92",
    "A whole BBM92 block",
    [
        GroupSchema(
            "TranscriptTest",
            {"role": _ROLE, "altered": obj({"message": NATURAL, "bit": NATURAL})},
            {
                "key": HEX,
                "keySha256": SHA256,
                "secretBits": NATURAL,
                "refillAlice": NATURAL,
                "refillBob": NATURAL,
                "sessionId": HEX,
                "transcriptSha256": SHA256,
            },
            parameters=_PARAMETERS,
            randomness={"preSharedSecret": HEX, "labels": obj({"alice": TEXT, "bob": TEXT})},
            intermediate=dict.fromkeys(_COUNTS, NATURAL),
            optional=("altered",),
            errors=("AuthenticationError", "RemoteProtocolError", "VerificationFailed"),
        ),
    ],
)

# ----------------------------------------------------------------------------------------------- the two stations

PAIRS = 6400
MEAN_GAP = 12_000_000  # units of 1/256 ns: about 21,000 pairs a second
START = 256_000_000
OFFSET = 950_000_123  # 3.7 ms, which is what Bob's clock shows more
DRIFT_PPM = 2


def stations() -> dict[str, list[tuple[int, int]]]:
    """Two stations' detector words as (time in 1/256 ns, detectors), drawn from SHAKE-256 by rules of integers alone.

    Pairs with gaps of 1 .. 2 x 12e6 units; each photon is lost with 1/16; bases even; equal bases agree but for 3 of
    256; a jitter of +-48 units (190 ps) at each side; Bob's clock 3.7 ms ahead, 2 ppm fast; a stray click at either
    side for every 32nd pair; for every 128th pair a second detector of Bob's fires at the same time.
    """
    draw = fixed_bytes("transcript/bbm92/pairs", 1, 16 * PAIRS)
    t = START
    alice, bob = [], []
    for n in range(PAIRS):
        d = draw[16 * n : 16 * n + 16]
        t += 1 + int.from_bytes(d[0:3], "big") * 2 * MEAN_GAP // (1 << 24)
        basis_a, basis_b, bit = d[3] & 1, d[3] >> 1 & 1, d[3] >> 2 & 1
        bit_b = bit ^ (d[4] < 3) if basis_a == basis_b else d[3] >> 3 & 1
        at_a, at_b = (t + d[i] % 97 - 48 for i in (5, 6))
        if d[7] >= 16:
            alice.append((at_a, 1 << (2 * basis_a + bit)))
        if d[8] >= 16:
            second = 1 << (d[9] & 3) if n % 128 == 64 else 0
            bob.append((_on_bobs_clock(at_b), 1 << (2 * basis_b + bit_b) | second))
        if n % 32 == 7:
            alice.append((t + 1_000_000 + d[10], 1 << (d[12] & 3)))
            bob.append((_on_bobs_clock(t + 2_000_000 + d[11]), 1 << (d[13] & 3)))
    return {"alice": sorted(alice), "bob": sorted(bob)}


def _on_bobs_clock(units: int) -> int:
    return units + OFFSET + (units - START) * DRIFT_PPM // 1_000_000


# ------------------------------------------------------------------------------------------------------ recording


def record() -> tuple[list[Json], Json]:
    """Run the product once: every message, and what both stations end up with."""
    said: list[Json] = []

    def note(sender: Any, encoded: bytes) -> list[bytes]:
        kind = msgspec.msgpack.decode(encoded)["type"]
        said.append({"sender": sender.value, "kind": kind, "encoded": encoded.hex()})
        return [encoded]

    def side(role: str) -> Side:
        tags = decode_words(words(stations()[role]))
        return Side(Replay(tags, simulated=True), MemoryVault(PRE_SHARED), FixedBits(LABELS[role]))

    link = Link(PARAMETERS, side("alice"), side("bob"), tamper=note)
    alice, bob = next(link.blocks())
    assert alice.block.key == bob.block.key
    report = alice.block.report
    intermediate = {
        "siftedZ": report.sifted_z,
        "siftedX": report.sifted_x,
        "errorsZ": report.errors_z,
        "errorsX": report.errors_x,
        "leakEcBits": report.leak_ec_bits,
        "phaseErrorsZ": report.phase_errors_z,
        "phaseErrorsX": report.phase_errors_x,
    }
    return said, intermediate


# ----------------------------------------------------------------------------------------------------- recomputing


@dataclass
class Follows:
    """A recording, and what follows from it by the references; `assert_equal` is every comparison made."""

    messages: list[Json]
    tags: dict[str, list[tuple[int, int]]]
    compared: int = 0

    def of(self, kind: str) -> list[dict[str, Any]]:
        """All messages of one kind, decoded."""
        return [msgspec.msgpack.decode(bytes.fromhex(m["encoded"])) for m in self.messages if m["kind"] == kind]

    def assert_equal(self, what: str, recorded: object, derived: object) -> None:
        self.compared += 1
        assert recorded == derived, f"{what}: the recording does not follow from its inputs"

    # Sifting ---------------------------------------------------------------------------------------------------

    def bobs_events(self) -> list[list[tuple[int, int, int]]]:
        """(time, basis, bit) of Bob's events, epoch by epoch; his draws begin after the nonce of his Hello."""
        clicks = _clicks(self.tags["bob"])
        events = grouped(clicks, PARAMETERS.double_click_ps)
        edge, call, done = clicks[0][0], 2, 0
        epochs = []
        for announced in self.of("Detections"):
            edge += round(PARAMETERS.epoch_s * 1e12)
            stop = len(events) if announced["ended"] else sum(e[-1][0] <= edge - 2000 for e in events)
            part = [events[i] for i in range(done, stop) if _heard(events, i)]
            sizes = _draw_sizes(part)
            draws = [fixed_bytes(LABELS["bob"], call + i, (size + 7) // 8) for i, size in enumerate(sizes)]
            call += len(draws)
            t_ps, basis, bit, _ = judged(part, draws)
            epochs.append(list(zip(t_ps, basis, bit, strict=True)))
            self.assert_equal("count of detections", announced["count"], len(part))
            bins = [t // PARAMETERS.bin_ps for t in t_ps]
            self.assert_equal("first bin", announced["start_bin"], bins[0])
            derived = _unrice(announced["width"], announced["deltas"], announced["count"])
            self.assert_equal("bins", derived, [b - bins[0] for b in bins])
            done = stop
        return epochs

    def sifted(self) -> dict[str, dict[str, list[int]]]:
        """Bits of both stations per basis: Bob's by the indices Alice sent, hers by the true clock."""
        clicks = _clicks(self.tags["alice"])
        events = [(e[0][0], e[0][1]) for e in grouped(clicks, PARAMETERS.double_click_ps)]
        assert all(len(e) == 1 for e in grouped(clicks, PARAMETERS.double_click_ps)), (
            "Alice has no multiple clicks here"
        )
        times = np.array([t for t, _ in events])
        kept: dict[str, dict[str, list[int]]] = {"alice": {"z": [], "x": []}, "bob": {"z": [], "x": []}}
        bases: list[list[int]] = [[], []]
        pending: list[tuple[int, int, int]] = []
        answers = [m for m in self.messages if m["kind"] in ("Kept", "MoreDetections")]
        for epoch, answer in zip(self.bobs_events(), answers, strict=True):
            pending += epoch
            if answer["kind"] == "MoreDetections":
                continue
            message = msgspec.msgpack.decode(bytes.fromhex(answer["encoded"]))
            for index in _unrice(message["width"], message["deltas"], message["count"]):
                t, basis, bit = pending[index]
                true_ps = (t * 256 / 1000 - OFFSET + START * DRIFT_PPM * 1e-6) / (1 + DRIFT_PPM * 1e-6) * 1000 / 256
                i = int(np.argmin(np.abs(times - true_ps)))
                assert abs(times[i] - true_ps) < PARAMETERS.window_ps
                channel = events[i][1]
                bases[0].append(basis)
                bases[1].append(channel >> 1)
                if channel >> 1 == basis:
                    kept["alice"]["zx"[basis]].append(channel & 1)
                    kept["bob"]["zx"[basis]].append(bit)
            pending = []
        self.assert_equal("bases", [m["bits"] for m in self.of("Bases")], [pack(b) for b in bases])
        return kept

    # The stages after sifting ----------------------------------------------------------------------------------

    def sample(
        self, kept: dict[str, dict[str, list[int]]]
    ) -> tuple[dict[str, dict[str, list[int]]], dict[str, tuple[int, int]]]:
        """What remains after the sample, and (errors, size) of it per basis."""
        (request,), (answer,) = self.of("SampleRequest"), self.of("SampleAnswer")
        rest: dict[str, dict[str, list[int]]] = {"alice": {}, "bob": {}}
        counts = {}
        for name in "zx":
            n = len(kept["alice"][name])
            size = max(math.ceil(PARAMETERS.sample_fraction * n), min(n // 4, 200))
            places = sorted(expand_permutation(request["seed"], f"sample/{name}", n)[0][n - size :])
            shown = {who: [kept[who][name][i] for i in places] for who in kept}
            self.assert_equal(f"Alice's sample in {name}", request[f"bits_{name}"], pack(shown["alice"]))
            self.assert_equal(f"Bob's sample in {name}", answer[f"bits_{name}"], pack(shown["bob"]))
            counts[name] = (sum(a != b for a, b in zip(shown["alice"], shown["bob"], strict=True)), size)
            chosen = set(places)
            for who in kept:
                rest[who][name] = [b for i, b in enumerate(kept[who][name]) if i not in chosen]
        return rest, counts

    def reconcile(
        self, rest: dict[str, dict[str, list[int]]], counts: dict[str, tuple[int, int]]
    ) -> tuple[dict[str, int], dict[str, int]]:
        """(leak, errors) per basis, after comparing every parity message."""
        (chosen,), (start,) = self.of("ReconciliationStart"), self.of("CascadeStart")
        self.assert_equal("method", chosen["method"], PARAMETERS.reconciliation.value)
        cuts = [PRESET.cuts(len(rest["alice"][b]), (counts[b][0] + 1) / (counts[b][1] + 2)) for b in "zx"]
        strings = [[np.array(rest[who][b], np.uint8) for b in "zx"] for who in ("alice", "bob")]
        done = reference_cascade.reconcile(strings[0], strings[1], cuts, PRESET.masks, PRESET.limit, start["seed"])
        self.assert_equal("parities", [m["bits"] for m in self.of("Parities")], done.parities)
        self.assert_equal("differences", [m["bits"] for m in self.of("ParityDifferences")], done.differences)
        for frame in done.frames:
            self.assert_equal("corrected string", frame.bob, frame.alice)
        leak = dict(zip("zx", done.leak_bits, strict=True))
        return leak, dict(zip("zx", (frame.errors for frame in done.frames), strict=True))

    def verify(self, rest: dict[str, dict[str, list[int]]], errors: dict[str, int]) -> None:
        """Both frames' verification tags by the definition of the hash, and Bob's answer to them."""
        (told,), (answer,) = self.of("VerificationTags"), self.of("VerificationResult")
        n = max(len(rest["alice"][b]) for b in "zx")
        seed = to_bits(told["seed"], n - 1)
        derived = [hashing.tag(rest["alice"][name], PARAMETERS.verify_bits, seed) for name in "zx"]
        self.assert_equal("verification tags", told["tags"], b"".join(derived))
        self.assert_equal("verdict", answer["equal"], pack([1, 1]))
        # Bob's second detector fires with every 128th pair: far more often than by chance, and his monitor says so.
        failed = [m["failed"] for m in self.of("StationFindings")]
        self.assert_equal("assumptions that failed", failed, [[], ["detectors-free"]])
        self.assert_equal("counts", answer["errors"], hashing.counts_sent([errors[name] for name in "zx"]))

    def distil(
        self,
        rest: dict[str, dict[str, list[int]]],
        counts: dict[str, tuple[int, int]],
        leak: dict[str, int],
        errors: dict[str, int],
    ) -> tuple[bytes, int, dict[str, int]]:
        """(key, its bits, phase errors per basis) by exact tails and one product of integers."""
        (chosen,) = self.of("Amplify")
        key: list[int] = []
        phase = {}
        parts = reference.split_over_bases(*(len(rest["alice"][name]) for name in "zx"), PARAMETERS.eps_sec)
        for name, other, eps in (("z", "x", parts[0]), ("x", "z", parts[1])):
            text = rest["alice"][name]
            tested = counts[other][1] + len(rest["alice"][other])
            wrong = counts[other][0] + errors[other]
            told = leak[name] + PARAMETERS.verify_bits + ANNOUNCED_BITS
            raw, phase[name], _ = finitekey.length(len(text), tested, wrong, told, eps)
            self.assert_equal(f"key length of {name}", chosen[f"length_{name}"], max(0, raw))
            seed = to_bits(chosen[f"seed_{name}"], len(text) - 1)
            key += hashing.by_integers(text, max(0, raw), seed)
        return pack(key), len(key), phase

    def tagged(self, session_id: bytes) -> None:
        """The three authentication tags over the conversation before each."""
        hellos = {m["role"]: m for m in self.of("Hello")}
        agreed = hellos["alice"]["parameters"]
        software = json.dumps([hellos[role]["software"] for role in LABELS], separators=(",", ":")).encode()
        chunks = [PRE_SHARED[i : i + 16] for i in range(0, len(PRE_SHARED), 16)]
        stages = iter((b"T", b"T", b"A"))
        frames = b""
        for message in self.messages:
            data = bytes.fromhex(message["encoded"])
            letter = message["sender"][0].upper().encode()
            if message["kind"] == "Tag":
                tag = msgspec.msgpack.decode(data)
                second = message["sender"] == "bob"
                head = b"entangled-qkd tag" + (3).to_bytes(2, "big") + letter + next(stages) + session_id
                head += (0).to_bytes(8, "big") + len(software).to_bytes(8, "big") + software
                head += len(agreed).to_bytes(8, "big") + agreed + len(frames).to_bytes(8, "big")
                derived = poly1305(chunks[second], chunks[2 + second :: 2][tag["pad"]], head + frames)
                self.assert_equal("authentication tag", tag["tag"], derived)
            frames += letter + len(data).to_bytes(8, "big") + data


def recompute(messages: list[Json], tags: dict[str, list[tuple[int, int]]]) -> tuple[Json, Json, int]:
    """(expected, intermediate, comparisons made) by the references; fails where the recording does not follow."""
    follows = Follows(messages, tags)
    kept = follows.sifted()
    rest, counts = follows.sample(kept)
    leak, errors = follows.reconcile(rest, counts)
    follows.verify(rest, errors)
    key, size, phase = follows.distil(rest, counts, leak, errors)
    nonces = {m["role"]: m["session_nonce"] for m in follows.of("Hello")}
    session_id = hashlib.sha256(b"entangled-qkd session" + nonces["alice"] + nonces["bob"]).digest()[:16]
    follows.tagged(session_id)
    (chosen,) = follows.of("Amplify")
    frames = b""
    for message in messages:
        data = bytes.fromhex(message["encoded"])
        frames += message["sender"][0].upper().encode() + len(data).to_bytes(8, "big") + data
    expected = {
        "key": key.hex(),
        "keySha256": hashlib.sha256(key).hexdigest(),
        "secretBits": size,
        "refillAlice": chosen["refill_alice"],
        "refillBob": chosen["refill_bob"],
        "sessionId": session_id.hex(),
        "transcriptSha256": hashlib.sha256(frames).hexdigest(),
    }
    intermediate = {
        "siftedZ": len(kept["alice"]["z"]),
        "siftedX": len(kept["alice"]["x"]),
        "errorsZ": counts["z"][0] + errors["z"],
        "errorsX": counts["x"][0] + errors["x"],
        "leakEcBits": leak["z"] + leak["x"],
        "phaseErrorsZ": phase["z"],
        "phaseErrorsX": phase["x"],
    }
    return expected, intermediate, follows.compared


def _clicks(events: list[tuple[int, int]]) -> list[Click]:
    return [((units * 125 + 16) // 32, c) for units, pattern in events for c in range(4) if pattern >> c & 1]


def _heard(events: list[list[Click]], i: int) -> bool:
    """No click in the dead window before the event; of the first, nobody knows."""
    return i > 0 and events[i][0][0] - events[i - 1][-1][0] >= PARAMETERS.mute_ps


def _draw_sizes(events: list[list[Click]]) -> tuple[int, ...]:
    fired = [{c for _, c in event} for event in events]
    several = [d for d in fired if len(d) > 1]
    return (len(several), sum(len({c >> 1 for c in d}) == 2 for d in several)) if events else ()


def _unrice(width: int, packed: bytes, count: int) -> list[int]:
    text = to_bits(packed, 8 * len(packed))
    values, place, before = [], count * width, 0
    for i in range(count):
        remainder = int("0" + "".join(map(str, text[i * width : (i + 1) * width])), 2)
        quotient = 0
        while text[place]:
            quotient += 1
            place += 1
        place += 1
        before += (quotient << width) + remainder
        values.append(before)
    return values


# ------------------------------------------------------------------------------------------------------- the file


def full() -> Json:
    """Both roles against the recording, and the recording altered in one bit."""
    messages, recorded = record()
    tags = stations()
    expected, intermediate, _ = recompute(messages, tags)
    assert intermediate == recorded, "the report does not follow from the messages"
    parameters = {
        "session": msgspec.json.decode(PARAMETERS.to_json()),
        "tags": {role: words(events).hex() for role, events in tags.items()},
        "messages": messages,
    }
    randomness = {"preSharedSecret": PRE_SHARED.hex(), "labels": LABELS}
    roles = [
        case(f"{role.capitalize()} against the record", {"role": role}, expected, intermediate=intermediate)
        for role in ("alice", "bob")
    ]
    notes = {
        "Syntax": Flag("MALFORMED", "What arrives is no message of the protocol.", "Refused before anything is read."),
        "Disagreement": Flag("MALFORMED", "A true message with a value that cannot be agreed.", "Drop the line."),
        "Unnoticed": Flag(
            "AUTH_BYPASS", "A value that no stage can check.", "Only the tag over the transcript stops it."
        ),
        "Forged": Flag("AUTH_BYPASS", "A tag, or the number of its pad, is altered.", "Eve would speak."),
        "Verdict": Flag("BASIC", "Frames seem to differ that are equal.", "No key: a denial of service."),
    }
    return document(
        "QKD-BBM92",
        "transcript.v1.schema.json",
        Source(
            "recorded from this implementation; every stage recomputed by tests/vectormaker/transcript.py",
            messages_version(messages),
            "no independent implementation of the whole protocol exists; the recording is written only if sample,"
            " parities, verification tags, key lengths, key and authentication tags follow from the tags and seeds"
            " by tests/reference and tests/vectormaker/primitives.py",
        ),
        """One block of BBM92 from detector words to key. `tags` are S-Fifteen a1 words, low half first. `session` are the
        SessionParameters; their canonical JSON (keys sorted) travels in both Hello. A station's secret bits are
        FixedBits of its label: draw number c (from 1) of k bytes is the first k bytes of SHAKE-256(label || c as 8
        bytes, big-endian). The pre-shared secret is dealt as in auth_context. `messages` is all that was said, in
        order: a role is fed its peer's and must say its own, byte for byte. The key stands here because it is nobody's.
        With `altered`, bit number `bit` (from the first byte's most significant one) of message number `message`
        (from 0) is inverted on its way to `role`.""",
        notes,
        [group("TranscriptTest", roles + _altered(messages), parameters=parameters, randomness=randomness)],
    )


def messages_version(messages: list[Json]) -> str:
    """What the recording's Hello says it runs."""
    return str(msgspec.msgpack.decode(bytes.fromhex(messages[0]["encoded"]))["software"])


def _altered(messages: list[Json]) -> list[Json]:
    def one(text: str, number: int, byte: int, flag: str, result: str, bit: int = 7) -> Json:
        role = "bob" if messages[number]["sender"] == "alice" else "alice"
        inputs = {"role": role, "altered": {"message": number, "bit": 8 * byte + bit}}
        return case(f"to {role.capitalize()}: {text}", inputs, flags=[flag], result=result)

    def find(kind: str, sender: str, *, last: bool = False) -> tuple[int, bytes, dict[str, Any]]:
        numbers = [i for i, m in enumerate(messages) if (m["kind"], m["sender"]) == (kind, sender)]
        number = numbers[-1 if last else 0]
        data = bytes.fromhex(messages[number]["encoded"])
        return number, data, msgspec.msgpack.decode(data)

    tests = []
    for sender, kind in (("bob", "Hello"), ("alice", "Hello"), ("bob", "Detections"), ("alice", "Kept")):
        number, data, fields = find(kind, sender)
        tests.append(one(f"the name of the {kind}", number, data.index(kind.encode()), "Syntax", "RemoteProtocolError"))
    for sender in ("bob", "alice"):
        number, data, fields = find("Hello", sender)
        nonce, agreed = data.index(fields["session_nonce"]), data.index(fields["parameters"])
        tests += [
            one("the nonce of the Hello", number, nonce, "Unnoticed", "AuthenticationError"),
            one("the parameters of the Hello", number, agreed + 10, "Disagreement", "RemoteProtocolError"),
        ]
    number, data, fields = find("ReconciliationStart", "alice")
    method, reason = data.index(fields["method"].encode()), data.index(fields["reason"].encode())
    tests += [
        one("the method of error correction", number, method, "Disagreement", "RemoteProtocolError"),
        one("why it was chosen", number, reason, "Unnoticed", "AuthenticationError"),
    ]
    number, data, fields = find("VerificationTags", "alice")
    seed, tags = data.index(fields["seed"]), data.index(fields["tags"])
    tests += [
        one("the seed of the verification", number, seed, "Verdict", "VerificationFailed"),
        one("one frame's tag", number, tags, "Verdict", "RemoteProtocolError"),
    ]
    number, data, fields = find("VerificationResult", "bob")
    counts = data.index(fields["errors"])
    tests.append(one("a count of errors", number, counts + 3, "Disagreement", "RemoteProtocolError"))
    number, data, fields = find("Amplify", "alice")
    tests.append(
        one(
            "a seed of the privacy amplification",
            number,
            data.index(fields["seed_z"]),
            "Unnoticed",
            "AuthenticationError",
        )
    )
    length = data.index(b"length_z") + len("length_z")
    width = {0xCC: 1, 0xCD: 2}.get(data[length], 0)
    tests.append(one("the length of the key", number, length + width, "Disagreement", "RemoteProtocolError"))
    for sender, last in (("alice", False), ("bob", False), ("alice", True)):
        number, data, fields = find("Tag", sender, last=last)
        which = "accepting tag" if last else "tag"
        tests.append(one(f"a bit of the {which}", number, data.index(fields["tag"]), "Forged", "AuthenticationError"))
        pad = data.index(b"\xa3pad") + 4
        tests.append(one(f"the pad of the {which}", number, pad, "Forged", "AuthenticationError"))
    return tests
