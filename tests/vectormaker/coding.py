"""Vectors of what travels: expansion of public seeds, ascending integers, messages, S-Fifteen words."""

from __future__ import annotations

import hashlib
import struct

from tests.vectormaker.frame import (
    BITS,
    HEX,
    INTEGER,
    NATURAL,
    SHA256,
    TEXT,
    VALID,
    Flag,
    GroupSchema,
    Json,
    Source,
    array,
    bits,
    case,
    document,
    file_schema,
    group,
    obj,
)
from tests.vectormaker.primitives import expand_bits, expand_permutation, message_pack, pack_ascending, rice

PRIMITIVES = "tests/vectormaker/primitives.py (plain Python)"

# ------------------------------------------------------------------------------------------------- expansion

EXPANSION_SCHEMA = file_schema(
    "QKD-EXPANSION",
    "Expansion of public seeds",
    [
        GroupSchema(
            "PermutationTest",
            {"label": TEXT, "size": INTEGER},
            {"permutation": array(NATURAL)},
            randomness={"seed": HEX},
            errors=("ParameterError",),
        ),
        GroupSchema(
            "PermutationDigestTest", {"label": TEXT, "size": INTEGER}, {"sha256": SHA256}, randomness={"seed": HEX}
        ),
        GroupSchema("ExpandedBitsTest", {"label": TEXT, "count": NATURAL}, {"bits": BITS}, randomness={"seed": HEX}),
    ],
)


def expansion() -> Json:
    """Bits and permutations from a seed and a label."""
    seed = bytes(range(32))
    sizes = (1, 2, 3, 10, 64)
    small = [
        case(
            f"permutation of {n}",
            {"label": "sample/z", "size": n},
            {"permutation": expand_permutation(seed, "sample/z", n)[0]},
        )
        for n in sizes
    ]
    other = case(
        "another label, another permutation",
        {"label": "sample/x", "size": 10},
        {"permutation": expand_permutation(seed, "sample/x", 10)[0]},
    )
    refused = [
        case(f"size {n}", {"label": "sample/z", "size": n}, flags=["SizeOutOfRange"], result="ParameterError")
        for n in (0, -1, (1 << 31) + 1)
    ]
    counts = (0, 1, 8, 13, 300)
    streams = [
        case(f"{n} bits", {"label": "cascade/300/mask/0", "count": n}, {"bits": _stream(seed, n)}) for n in counts
    ]
    notes = {
        "SizeOutOfRange": Flag("EDGE_CASE", "The size is not in 1 .. 2^31.", "An index would not fit its type."),
        "Rejection": Flag(
            "EDGE_CASE",
            "At least one word of the stream is rejected.",
            "Taking every word gives another permutation from there on, and a biased one.",
        ),
    }
    randomness = {"seed": seed.hex()}
    return document(
        "QKD-EXPANSION",
        "expansion.v1.schema.json",
        Source(PRIMITIVES, "1", "docstring of qkd/randomness.py; ChaCha20 of RFC 8439, SHA-256 from hashlib"),
        """The byte stream is the ChaCha20 key stream (block counter from 0, nonce 0) under the key SHA-256(seed || label),
        label in ASCII. Bits are its bytes, most significant bit first. A permutation of n starts as 0 .. n-1; for
        i = n-1 down to 1, entries i and uniform(i + 1) swap. uniform(m) takes successive little-endian 32-bit words w
        of the stream, rejects those with w m mod 2^32 < 2^32 mod m, and gives floor(w m / 2^32).
        Digest tests hash the permutation as little-endian 32-bit words.""",
        notes,
        [
            group("PermutationTest", [*small, other, *refused], randomness=randomness),
            group("PermutationDigestTest", [_long_permutation(seed)], randomness=randomness),
            group("ExpandedBitsTest", streams, randomness=randomness),
        ],
    )


def _stream(seed: bytes, count: int) -> Json:
    return bits(expand_bits(seed, "cascade/300/mask/0", count))


def _long_permutation(seed: bytes) -> Json:
    size = 200_000
    found, rejected = expand_permutation(seed, "cascade/long", size)
    assert rejected, "choose another label: no word is rejected"
    return case(
        f"permutation of {size}; {rejected} words are rejected",
        {"label": "cascade/long", "size": size},
        {"sha256": hashlib.sha256(struct.pack(f"<{size}I", *found)).hexdigest()},
        flags=["Rejection"],
    )


# ------------------------------------------------------------------------------------------ ascending integers

ASCENDING_SCHEMA = file_schema(
    "QKD-ASCENDING",
    "Ascending integers in Golomb-Rice codes",
    [
        GroupSchema("AscendingPackTest", {"values": array(NATURAL)}, {"width": NATURAL, "packed": HEX}),
        GroupSchema(
            "AscendingUnpackTest",
            {"width": INTEGER, "packed": HEX, "count": INTEGER, "largest": INTEGER},
            {"values": array(NATURAL)},
            errors=("RemoteProtocolError",),
        ),
    ],
)


def ascending() -> Json:
    """Golomb-Rice codes of the differences."""
    notes = {
        "Quotient": Flag("EDGE_CASE", "A difference of 2^width or more.", "Values from there on would be wrong."),
        "Equal": Flag("EDGE_CASE", "Two values are equal.", "A difference of zero must not be dropped."),
        "Hostile": Flag(
            "MALFORMED", "What no honest peer sends.", "Memory or indices would be the peer's choice: drop the line."
        ),
        "Padding": Flag("MALFORMED", "A bit after the last quotient is set.", "One list would have several codes."),
    }
    return document(
        "QKD-ASCENDING",
        "ascending.v1.schema.json",
        Source(PRIMITIVES, "2", "docstring of qkd/exchange/codec.py; S. W. Golomb 1966, R. F. Rice 1979"),
        """Ascending integers are coded as differences d, the first one to 0: all remainders d mod 2^width, width bits
        each, most significant first; then all quotients floor(d / 2^width) in unary, so many ones and a zero. The
        sender takes the smallest of the widths 0 .. 32 that needs the fewest bits. Bits after the last quotient are
        zero, fewer than eight.""",
        notes,
        [group("AscendingPackTest", _packed()), group("AscendingUnpackTest", _unpacked())],
    )


def _packed() -> list[Json]:
    lists: list[tuple[str, list[int], list[str]]] = [
        ("no value", [], []),
        ("only zero", [0], []),
        ("small steps", [0, 1, 2, 4, 5], []),
        ("equal neighbours", [3, 3, 3, 7, 7], ["Equal"]),
        ("one long gap among short ones", [1, 2, 3, 4, 5, 6, 7, 8, 30, 31, 32], ["Quotient"]),
        ("a difference of exactly 2^width", [1, 2, 4, 6, 7], ["Quotient"]),
        ("beyond 32 bits", [1 << 36], ["Quotient"]),
        ("two hundred detection times in 125 ps bins", _times(), []),
    ]
    return [
        case(text, {"values": values}, dict(zip(("width", "packed"), _hexed(values), strict=True)), flags=flags)
        for text, values, flags in lists
    ]


def _hexed(values: list[int]) -> tuple[int, str]:
    width, packed = pack_ascending(values)
    return width, packed.hex()


def _times() -> list[int]:
    steps = [int("".join(map(str, expand_bits(b"times", str(i), 13))), 2) for i in range(200)]
    return [sum(steps[: i + 1]) for i in range(200)]


def _unpacked() -> list[Json]:
    def one(
        text: str, width: int, packed: str, count: int, largest: int, values: list[int] | None, *flags: str
    ) -> Json:
        inputs = {"width": width, "packed": packed, "count": count, "largest": largest}
        if values is None:
            return case(text, inputs, flags=flags, result="RemoteProtocolError")
        assert packed == rice(values, width).hex()
        return case(text, inputs, {"values": values}, flags=flags)

    return [
        one("width 3, not the narrowest", 3, "0900", 4, 9, [0, 2, 4, 4], "Equal"),
        one("width 0: quotients alone", 0, "60", 3, 9, [0, 2, 2], "Equal", "Quotient"),
        one("the last value is the largest allowed", 4, "1200", 2, 3, [1, 3]),
        one("the last value is above the largest allowed", 4, "1200", 2, 2, None, "Hostile"),
        one("more values than the bytes can hold", 4, "1200", 4, 100, None, "Hostile"),
        one("an extra byte of zeros", 4, "120000", 2, 100, None, "Hostile"),
        one("a byte where no value is announced", 4, "00", 0, 100, None, "Hostile"),
        one("a padding bit is set", 4, "1201", 2, 100, None, "Padding"),
        one("a quotient without an end", 0, "ff", 1, 100, None, "Hostile"),
        one("width 33", 33, "0000000000", 1, 100, None, "Hostile"),
        one("a negative width", -1, "00", 1, 100, None, "Hostile"),
        one("a negative count", 4, "", -1, 100, None, "Hostile"),
        one("a count that no line could carry", 4, "12", 1 << 60, 100, None, "Hostile"),
        one("an index where there is nothing to index", 4, "00", 1, -1, None, "Hostile"),
    ]


# ---------------------------------------------------------------------------------------------------- messages

_VALUE = {"anyOf": [{"type": ["integer", "string", "boolean"]}, obj({"hex": HEX}), obj({"numbers": array({})})]}
MESSAGES_SCHEMA = file_schema(
    "QKD-MESSAGES",
    "Messages on the wire",
    [
        GroupSchema(
            "MessageTest",
            {"kind": TEXT, "fields": {"type": "object", "additionalProperties": _VALUE}},
            {"encoded": HEX},
        ),
        GroupSchema(
            "MessageDecodeTest",
            {"encoded": HEX},
            {"kind": TEXT, "reencoded": HEX},
            errors=("RemoteProtocolError",),
        ),
    ],
)

Value = int | str | bool | bytes | dict[str, float]
EXAMPLES: list[tuple[str, dict[str, Value]]] = [
    (
        "Hello",
        {
            "version": 1,
            "role": "bob",
            "software": "entangled-qkd 0.1.0",
            "session_nonce": bytes(range(16)),
            "parameters": b'{"window_ps":1000}',
            "committed": -1,
            "prepared": -1,
            "simulated": False,
        },
    ),
    (
        "Detections",
        {
            "start_bin": 1 << 40,
            "bin_ps": 125,
            "count": 2,
            "width": 4,
            "deltas": b"\x03",
            "ended": False,
        },
    ),
    ("MoreDetections", {}),
    ("Kept", {"count": 2, "width": 4, "deltas": b"\x12", "ended": True}),
    ("Bases", {"bits": b"\x40"}),
    ("SampleRequest", {"seed": bytes(range(32)), "bits_z": b"\xa0", "bits_x": b""}),
    ("SampleAnswer", {"bits_z": b"\x20", "bits_x": b""}),
    ("ReconciliationStart", {"method": "cascade/fast", "reason": "set by the session's parameters"}),
    ("CascadeStart", {"seed": bytes(range(32))}),
    ("Parities", {"bits": bytes(range(256)) * 2}),
    ("ParityDifferences", {"bits": bytes(70_000)}),
    ("LdpcSyndromes", {"seed": bytes(range(32)), "bits": bytes(range(256))}),
    ("LdpcRequest", {"count": 2, "width": 4, "deltas": b"\x12", "more": b"\x00\x03"}),
    ("LdpcReveal", {"bits": b"\xa0"}),
    ("VerificationTags", {"seed": b"\x12\x34", "tags": b"\x01" * 8 + b"\x02" * 8}),
    ("VerificationResult", {"equal": b"\x80", "errors": b"\x00\x00\x00\x07\x00\x00\x01\x00"}),
    ("FailedFrames", {"bits": b"\xa5\x80"}),
    ("FailedErrors", {"errors": b"\x00\x00\x00\x03"}),
    (
        "Amplify",
        {
            "seed_z": b"\xff",
            "seed_x": b"\x80",
            "length_z": 300,
            "length_x": 70_000,
            "refill_alice": 2,
            "refill_bob": 1,
        },
    ),
    ("Tag", {"pad": 65_536, "tag": bytes(range(16))}),
    (
        "Abort",
        {"reason": "QberTooHigh", "text": "QBER is too high: no key from this block", "numbers": {"limit": 0.11}},
    ),
]


def _wire(kind: str, fields: dict[str, Value]) -> bytes:
    return message_pack({"type": kind, **fields})


def _shown(value: Value) -> object:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    return {"numbers": [list(item) for item in value.items()]} if isinstance(value, dict) else value


def messages() -> Json:
    """Every message once, and what is none."""
    each = [
        case(
            kind,
            {"kind": kind, "fields": {n: _shown(v) for n, v in fields.items()}},
            {"encoded": _wire(kind, fields).hex()},
        )
        for kind, fields in EXAMPLES
        if kind != "ParityDifferences"
    ]
    notes = {
        "Malformed": Flag("MALFORMED", "Not MessagePack, or cut short.", "Must be refused before anything is read."),
        "Unknown": Flag(
            "MALFORMED", "A message or a field that this protocol does not have.", "Nothing unnoticed may travel."
        ),
        "WrongType": Flag("MALFORMED", "A field of another type than agreed.", "Would fail later, in another layer."),
    }
    return document(
        "QKD-MESSAGES",
        "messages.v1.schema.json",
        Source(PRIMITIVES, "1", "docstrings of qkd/exchange/messages.py and codec.py; the MessagePack specification"),
        """A message is one MessagePack map: "type" first, then the fields in the order of their definition, everything
        in its shortest form; bytes are of the bin family, text of the str family, and only an abort's numbers may be
        floating point (64 bit). Bytes stand as {"hex": ...} here, an abort's numbers as pairs. Decoding what was
        encoded must give the message back.""",
        notes,
        [group("MessageTest", each), group("MessageDecodeTest", _decoded())],
    )


def _decoded() -> list[Json]:
    kept: dict[str, Value] = {"count": 2, "width": 4, "deltas": b"\x12", "ended": True}
    good = _wire("Kept", kept)

    def bad(text: str, encoded: bytes, flag: str) -> Json:
        return case(text, {"encoded": encoded.hex()}, flags=[flag], result="RemoteProtocolError")

    return [
        case("a good one, for comparison", {"encoded": good.hex()}, {"kind": "Kept", "reencoded": good.hex()}),
        bad("nothing", b"", "Malformed"),
        bad("cut by one byte", good[:-1], "Malformed"),
        bad("one byte too many", good + b"\x00", "Malformed"),
        bad("not MessagePack: the code that is never used", b"\xc1", "Malformed"),
        bad("a number", message_pack(5), "Malformed"),
        bad("a map that promises more than it holds", b"\xdf\xff\xff\xff\xff", "Malformed"),
        bad("text that is not UTF-8", good.replace(b"Kept", b"Kep\xff"), "Malformed"),
        bad("no type", message_pack({**kept}), "Unknown"),
        bad("a type that does not exist", _wire("Kepd", kept), "Unknown"),
        bad("the base of all messages", _wire("Message", {}), "Unknown"),
        bad("an unknown field", _wire("Kept", {**kept, "note": "hi"}), "Unknown"),
        bad("a field is missing", _wire("Kept", {"count": 2, "width": 4, "deltas": b""}), "WrongType"),
        bad("text where bytes are due", _wire("Kept", {**kept, "deltas": "12"}), "WrongType"),
        bad("text where a number is due", _wire("Kept", {**kept, "count": "2"}), "WrongType"),
        bad("a number where a truth value is due", _wire("Kept", {**kept, "ended": 1}), "WrongType"),
    ]


# -------------------------------------------------------------------------------------------------- a1 words

A1_SCHEMA = file_schema(
    "S15-A1",
    "S-Fifteen a1 raw events",
    [
        GroupSchema(
            "A1ReadTest",
            {"data": HEX},
            {
                "order": {"enum": ["low half first", "high half first"]},
                "tPs": array(INTEGER),
                "channel": array(NATURAL),
            },
            errors=("TagFormatError",),
        ),
        GroupSchema(
            "A1WriteTest",
            {"tPs": array(INTEGER), "channel": array(NATURAL)},
            {"data": HEX},
            errors=("ParameterError",),
        ),
    ],
)

Event = tuple[int, int]  # time in 1/256 ns, the word's low ten bits


def words(events: list[Event], *, swapped: bool = False) -> bytes:
    """Little-endian words, their halves exchanged if wanted."""
    data = b""
    for units, low in events:
        word = struct.pack("<Q", units << 10 | low)
        data += word[4:] + word[:4] if swapped else word
    return data


def _read(events: list[Event], order: str = "low half first") -> Json:
    t_ps, channel = [], []
    for units, low in events:
        if low & 16:
            continue
        for bit in range(4):
            if low >> bit & 1:
                t_ps.append((units * 1000 * 2 + 256) // 512)
                channel.append(bit)
    return {"order": order, "tPs": t_ps, "channel": channel}


def a1() -> Json:
    """Words in both orders, dummies, multiple clicks, and what is no recording."""
    steps = [(1_000_000 + 77_777 * i, 1 << i % 4) for i in range(12)]
    dummies = [(1000, 1), (2000, 16), (3000, 2), (4000, 16 | 1), (5000, 4)]
    clicks = [(1000, 0b0011), (2000, 0b1100), (3000, 0b1111), (4000, 0b0001)]
    filler = [(u, low | 0b1010100000) for u, low in steps[:4]]
    rounding = [(units, 1) for units in (0, 1, 2, 3, 31, 32, 16, 48, (1 << 53) + 1)]
    rounding.sort()
    late = [steps[0], steps[2], steps[1], steps[3]]
    wrapped = [((1 << 54) - 256_000, 1), ((1 << 54) - 256, 2), (256, 4)]
    turned = [(u + (1 << 54) * (u == 256), low) for u, low in wrapped]

    def read(
        text: str, events: list[Event], *flags: str, told: list[Event] | None = None, swapped: bool = False
    ) -> Json:
        order = "high half first" if swapped else "low half first"
        data = words(events, swapped=swapped)
        return case(text, {"data": data.hex()}, _read(told or events, order), flags=flags)

    def bad(text: str, data: bytes, flag: str) -> Json:
        return case(text, {"data": data.hex()}, flags=[flag], result="TagFormatError")

    reads = [
        read("twelve words", steps),
        read("the same, high half first", steps, "HighHalfFirst", swapped=True),
        read("dummy events among them", dummies, "Dummy"),
        read("several detectors in one word", clicks, "MultiClick"),
        read("filler in bits 9 .. 5", filler, "Filler"),
        read("rounding to picoseconds, halves up", rounding, "Rounding"),
        read("a word that came late", late, "Late", told=sorted(late)),
        read("the 54-bit counter wraps", wrapped, "Rollover", told=turned),
        bad("cut inside a word", words(steps)[:-3], "Truncated"),
        bad("one byte", b"\x00", "Truncated"),
        bad("eight words of zeros name no detector", bytes(64), "NoDetector"),
        bad("times that run backwards by seconds", words([*steps[::-1], (1 << 40, 1), (1 << 20, 1)]), "Backwards"),
    ]
    notes = {
        "HighHalfFirst": Flag("BASIC", "The two 32-bit halves are exchanged (readevents -X).", "Times would be noise."),
        "Dummy": Flag("BASIC", "Bit 4: the counter is alive, nothing was detected.", "Detections would be invented."),
        "MultiClick": Flag("EDGE_CASE", "More than one detector bit.", "One tag for each, channels ascending."),
        "Filler": Flag("EDGE_CASE", "Bits 9 .. 5 are set.", "They are neither time nor detector."),
        "Rounding": Flag(
            "EDGE_CASE", "Times between whole picoseconds.", "1 ps, and ps to words is no longer inverse."
        ),
        "Late": Flag("EDGE_CASE", "A word follows a later one, as real cards do.", "Sorted, within 131 us."),
        "Rollover": Flag("EDGE_CASE", "The counter wraps after 19.5 h.", "Time would jump back."),
        "Truncated": Flag("MALFORMED", "The data end inside a word.", "A file that was cut must not pass for whole."),
        "NoDetector": Flag("MALFORMED", "No word names a detector.", "This is no recording of this kind."),
        "Backwards": Flag(
            "MALFORMED", "Times descend further than a card can be late.", "Shuffled, or another format."
        ),
        "OutOfRange": Flag("MALFORMED", "A channel above 3 or a negative time.", "A word cannot hold it."),
    }
    return document(
        "S15-A1",
        "a1.v1.schema.json",
        Source(
            "tests/vectormaker/coding.py (struct and integers)",
            "1",
            "qcrypto filespec.txt, raw event type a1; rounding rule of distribution/formats/s15.py",
        ),
        """One little-endian 64-bit word an event: bits 63 .. 10 time in units of 1/256 ns, bit 4 dummy, bits 3 .. 0
        detectors. tPs is the time in ps rounded to nearest, halves up. A reader finds out the order of the two
        halves from the data.""",
        notes,
        [group("A1ReadTest", reads), group("A1WriteTest", _written())],
    )


def _written() -> list[Json]:
    def one(text: str, t_ps: list[int], channel: list[int], events: list[Event] | None, *flags: str) -> Json:
        inputs = {"tPs": t_ps, "channel": channel}
        if events is None:
            return case(text, inputs, flags=flags, result="ParameterError")
        return case(text, inputs, {"data": words(events).hex()}, flags=flags, result=VALID)

    return [
        one("nothing", [], [], []),
        one("whole nanoseconds", [1000, 2000, 5000], [0, 3, 1], [(256, 1), (512, 8), (1280, 2)]),
        one("nearest unit of 3.90625 ps", [1, 2, 4, 6], [0, 0, 0, 0], [(0, 1), (1, 1), (1, 1), (2, 1)], "Rounding"),
        one("two detectors at one time share a word", [1000, 1000], [0, 2], [(256, 5)], "MultiClick"),
        one("one detector twice at one time does not", [1000, 1000], [1, 1], [(256, 2), (256, 2)], "MultiClick"),
        one("modulo 19.5 h", [(1 << 54) * 125 // 32 + 1000], [0], [(256, 1)], "Rollover"),
        one("channel 4", [1000], [4], None, "OutOfRange"),
        one("a negative time", [-1], [0], None, "OutOfRange"),
    ]
