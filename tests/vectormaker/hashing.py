"""Vectors of verification, privacy amplification and authentication: the universal hashes of the stack."""

from __future__ import annotations

import hashlib

import numpy as np

from tests.reference import toeplitz as reference
from tests.vectormaker.frame import (
    BITS,
    BOOLEAN,
    HEX,
    INTEGER,
    NATURAL,
    SHA256,
    TEXT,
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
    pack,
)
from tests.vectormaker.primitives import expand_bits, fixed_bytes, message_pack, poly1305, to_bits

HASH_RULE = """The hash of n bits x to l bits y under n - 1 seed bits s is y[i] = x[i] + sum over j of s[i + j]
    x[n - 1 - j] modulo 2, for 0 <= i < l and 0 <= j < n - l."""


def _array(values: list[int]) -> np.ndarray:
    return np.array(values, np.uint8)


def _hash(text: list[int], length: int, seed: list[int]) -> list[int]:
    return reference.by_definition(_array(text), length, _array(seed)).tolist()


# ------------------------------------------------------------------------------------------------ verification

_FRAMES = array(BITS)
VERIFICATION_SCHEMA = file_schema(
    "QKD-VERIFICATION",
    "Error verification",
    [
        GroupSchema(
            "VerificationTest",
            {"alice": _FRAMES, "bob": _FRAMES, "before": _FRAMES, "known": array(INTEGER), "draw": HEX},
            {"equal": array(BOOLEAN), "errors": array(NATURAL), "tagBits": array(NATURAL)},
            parameters={"tagLength": NATURAL},
            intermediate={"messages": array(HEX)},
            errors=("VerificationFailed", "RemoteProtocolError"),
        ),
        GroupSchema(
            "VerificationHostileTest",
            {
                "role": {"enum": ["alice", "bob"]},
                "frames": _FRAMES,
                "known": array(INTEGER),
                "draw": HEX,
                "received": array(HEX),
            },
            {},
            parameters={"tagLength": NATURAL},
            errors=("RemoteProtocolError", "VerificationFailed"),
        ),
    ],
)
TAG_LENGTH = 64
Places = dict[int, tuple[int, ...]]


def _frames(sizes: list[int], wrong: Places) -> list[list[int]]:
    """Frames of these sizes; `wrong` says which bits of which frame are inverted."""
    whole = [expand_bits(b"verification vectors", f"frame/{i}", n) for i, n in enumerate(sizes)]
    return [[bit ^ (c in wrong.get(i, ())) for c, bit in enumerate(frame)] for i, frame in enumerate(whole)]


def tag(text: list[int], tag_length: int, seed: list[int]) -> bytes:
    """Verification tag of one frame, packed."""
    length = min(tag_length, len(text))
    return pack(_hash(text, length, seed[: max(0, len(text) - 1)]))


def counts_sent(counts: list[int]) -> bytes:
    """Four bytes each, big-endian."""
    return b"".join(count.to_bytes(4, "big") for count in counts)


def _differing(one: list[list[int]], other: list[list[int]]) -> list[int]:
    return [sum(x != y for x, y in zip(a, b, strict=True)) for a, b in zip(one, other, strict=True)]


def _drawn(comment: str, sizes: list[int]) -> tuple[bytes, list[int]]:
    seed_bits = max(sizes) - 1
    draw = fixed_bytes(f"verification/{comment}", 1, (seed_bits + 7) // 8)
    return draw, to_bits(draw, seed_bits)


def _verify(
    comment: str, sizes: list[int], sifted: Places, left: Places, *flags: str, known: list[int] | None = None
) -> Json:
    """`sifted` errors, of which (or in place of which) `left` stand after the correction."""
    draw, seed = _drawn(comment, sizes)
    alice, bob, before = _frames(sizes, {}), _frames(sizes, left), _frames(sizes, sifted)
    corrected, truth = _differing(bob, before), _differing(alice, before)
    known = [-1] * len(sizes) if known is None else known
    inputs = {
        **{name: [bits(f) for f in frames] for name, frames in (("alice", alice), ("bob", bob), ("before", before))},
        "known": known,
        "draw": draw.hex(),
    }
    tags = [(tag(a, TAG_LENGTH, seed), tag(b, TAG_LENGTH, seed)) for a, b in zip(alice, bob, strict=True)]
    equal = [mine == theirs for mine, theirs in tags]
    if any(k not in (-1, c) for k, c in zip(known, corrected, strict=True)):
        return case(comment, inputs, flags=flags, result="RemoteProtocolError")
    if not any(equal):
        return case(comment, inputs, flags=flags, result="VerificationFailed")
    said: list[Json] = [
        {"type": "VerificationTags", "seed": pack(seed), "tags": b"".join(mine for mine, _ in tags)},
        {"type": "VerificationResult", "equal": pack(equal), "errors": counts_sent(corrected)},
    ]
    failed = [i for i, good in enumerate(equal) if not good]
    if failed:
        shown = [bit for i in failed for bit in alice[i]]
        said.append({"type": "FailedFrames", "bits": pack(shown)})
        said.append({"type": "FailedErrors", "errors": counts_sent([truth[i] for i in failed])})
    expected = {
        "equal": equal,
        "errors": [t if i in failed else c for i, (t, c) in enumerate(zip(truth, corrected, strict=True))],
        "tagBits": [min(TAG_LENGTH, n) for n in sizes],
    }
    return case(
        comment, inputs, expected, flags=flags, intermediate={"messages": [message_pack(m).hex() for m in said]}
    )


def verification() -> Json:
    """Equal frames, differing frames, frames shorter than the tag."""
    three: Places = {0: (5,), 1: (0, 7, 299), 2: ()}
    tests = [
        _verify("no errors at all", [300, 280], {}, {}),
        _verify("every error corrected", [300, 300, 280], three, {}),
        _verify("a first frame shorter than the next", [65, 300], {0: (64,)}, {}),
        _verify("Alice knows the counts", [300, 300, 280], three, {}, known=[1, 3, 0]),
        _verify("Alice knows one count of three", [300, 300, 280], three, {}, known=[-1, 3, -1]),
        _verify("Alice knows another count", [300, 300, 280], three, {}, "Counts", known=[1, 2, 0]),
        _verify("one error of frame 1 is left", [300, 300, 280], three, {1: (7,)}, "Differs"),
        _verify("the last bit of the last frame is spoilt", [300, 300, 280], three, {2: (279,)}, "Differs"),
        _verify("the first bit of frame 0 is spoilt", [300, 300, 280], three, {0: (0,)}, "Differs"),
        _verify("two frames of three fail", [301, 300, 283], three, {0: (1, 2, 3), 2: (5, 6)}, "Differs"),
        _verify("every frame fails", [300, 280], {}, {0: tuple(range(0, 300, 3)), 1: (5, 6)}, "Differs", "NoKey"),
        _verify("frames shorter than the tag are their own tags", [40, 7, 64], {1: (3,)}, {}, "Short"),
        _verify("a short frame that differs", [40, 7, 300], {1: (3,)}, {1: (3,)}, "Short", "Differs"),
        _verify("one bit each", [1, 1], {}, {}, "Short"),
    ]
    notes = {
        "Differs": Flag("BASIC", "A frame of Bob's is not Alice's.", "Two different keys would be delivered."),
        "NoKey": Flag("BASIC", "No frame is left.", "Nothing is shown, and there is no key."),
        "Counts": Flag("MALFORMED", "Bob's word is not what he did.", "The other basis would be tested by it."),
        "Short": Flag("EDGE_CASE", "A frame has fewer bits than the tag.", "It is disclosed whole; leaves no key."),
        "Malformed": Flag("MALFORMED", "A part of another size.", "A shorter tag would be easier to meet."),
    }
    return document(
        "QKD-VERIFICATION",
        "verification.v1.schema.json",
        Source(
            "tests/reference/toeplitz.py (by definition), tests/vectormaker/hashing.py (counting)",
            "2",
            "Hayashi and Tsurumaru, IEEE Trans. Inf. Theory 62:2213 (2016)",
        ),
        f"""Alice sends a seed and a tag for each of her frames; Bob a bit for each, whether his gives the same, and in how
        many bits his frame differs from what it was `before` the correction, four bytes each, big-endian. Alice holds
        this against what she has `known` (-1: nothing). If some frames fail, she shows these, end to end, and Bob says in
        how many bits each of them differed before. If all fail, nothing is shown and there is no key. {HASH_RULE} A tag
        is the hash to min(tagLength, n) bits, packed to whole bytes; each uses the front of one seed of max(n) - 1
        bits, the first bits of `draw`. `errors` are those of the frames as sifted. In hostile tests one role, whose
        frames have no errors, meets `received`, message by message.""",
        notes,
        [
            group("VerificationTest", tests, parameters={"tagLength": TAG_LENGTH}),
            group(
                "VerificationHostileTest", [*_hostile_tags(), *_hostile_answers()], parameters={"tagLength": TAG_LENGTH}
            ),
        ],
    )


_HOSTILE_SIZES = [100, 90, 37]


def _hostile(comment: str, role: str, received: list[Json], flag: str = "Malformed", result: str = "") -> Json:
    draw, _ = _drawn("hostile", _HOSTILE_SIZES)
    inputs = {
        "role": role,
        "frames": [bits(frame) for frame in _frames(_HOSTILE_SIZES, {})],
        "known": [-1, 0, -1],
        "draw": draw.hex(),
        "received": [message_pack(message).hex() for message in received],
    }
    return case(comment, inputs, flags=[flag], result=result or "RemoteProtocolError")


def _hostile_tags() -> list[Json]:
    _, bits_of_seed = _drawn("hostile", _HOSTILE_SIZES)
    seed = pack(bits_of_seed)
    tags = [tag(frame, TAG_LENGTH, bits_of_seed) for frame in _frames(_HOSTILE_SIZES, {})]
    good = b"".join(tags)
    inverted = bytes(byte ^ 0x10 for byte in good)
    one_wrong = bytes([good[0] ^ 1]) + good[1:]

    def told(seed: bytes = seed, tags: bytes = good) -> Json:
        return {"type": "VerificationTags", "seed": seed, "tags": tags}

    def shown(data: bytes) -> list[Json]:
        return [told(tags=one_wrong), {"type": "FailedFrames", "bits": data}]

    return [
        _hostile("to Bob: a seed one byte short", "bob", [told(seed[:-1])]),
        _hostile("to Bob: a seed one byte long", "bob", [told(seed + b"\x00")]),
        _hostile("to Bob: a seed with a padding bit set", "bob", [told(seed[:-1] + bytes([seed[-1] | 1]))]),
        _hostile("to Bob: no tags", "bob", [told(tags=b"")]),
        _hostile("to Bob: tags one byte short", "bob", [told(tags=good[:-1])]),
        _hostile("to Bob: a tag too many", "bob", [told(tags=good + tags[0])]),
        _hostile("to Bob: every tag is another's", "bob", [told(tags=inverted)], "Differs", "VerificationFailed"),
        _hostile("to Bob: a failed frame of no bits", "bob", shown(b"")),
        _hostile("to Bob: a failed frame one byte long", "bob", shown(bytes(14))),
        _hostile("to Bob: a failed frame with a padding bit set", "bob", shown(bytes(12) + b"\x01")),
        _hostile("to Bob: more tags where a failed frame is due", "bob", [told(tags=one_wrong), told()]),
    ]


def _hostile_answers() -> list[Json]:
    zeros = counts_sent([0, 0, 0])

    def said(equal: bytes = b"\xe0", errors: bytes = zeros) -> Json:
        return {"type": "VerificationResult", "equal": equal, "errors": errors}

    def counted(data: bytes) -> list[Json]:
        return [said(b"\x60"), {"type": "FailedErrors", "errors": data}]

    return [
        _hostile("to Alice: no verdict", "alice", [said(b"")]),
        _hostile("to Alice: a verdict on a fourth frame", "alice", [said(b"\xf0")]),
        _hostile("to Alice: counts of two frames", "alice", [said(errors=counts_sent([0, 0]))]),
        _hostile("to Alice: 101 errors in 100 bits", "alice", [said(errors=counts_sent([101, 0, 0]))]),
        _hostile("to Alice: a count with the sign bit set", "alice", [said(errors=b"\x80" + zeros[1:])]),
        _hostile("to Alice: another count than she knows", "alice", [said(errors=counts_sent([0, 1, 0]))], "Counts"),
        _hostile("to Alice: every frame fails", "alice", [said(b"\x00")], "NoKey", "VerificationFailed"),
        _hostile("to Alice: no count of a failed frame", "alice", counted(b"")),
        _hostile("to Alice: counts of two failed frames", "alice", counted(counts_sent([0, 0]))),
        _hostile("to Alice: 101 errors in a failed frame of 100 bits", "alice", counted(counts_sent([101]))),
        _hostile("to Alice: a second verdict where counts are due", "alice", [said(b"\x60"), said()]),
    ]


# ------------------------------------------------------------------------------------------ privacy amplification

PRIVACY_SCHEMA = file_schema(
    "QKD-PRIVACY",
    "Privacy amplification",
    [
        GroupSchema(
            "PrivacyTest",
            {"input": BITS, "length": INTEGER, "seed": HEX},
            {"key": BITS},
            errors=("ParameterError", "RemoteProtocolError"),
        ),
        GroupSchema(
            "PrivacyAccumulatedTest",
            {"runs": NATURAL, "inputBits": NATURAL, "length": NATURAL},
            {"sha256": SHA256},
            randomness={"seed": HEX},
        ),
    ],
)


def privacy_small() -> Json:
    """Keys of up to a few hundred bits in full."""
    shapes = [
        (1, 0),
        (1, 1),
        (2, 1),
        (8, 3),
        (9, 9),
        (64, 32),
        (65, 64),
        (100, 1),
        (100, 99),
        (129, 65),
        (500, 100),
        (300, 0),
    ]
    tests = [_amplified(n, length) for n, length in shapes]
    unit = _amplified(16, 5, text=[0] * 15 + [1], comment="only the last input bit: the seed's first bits come out")
    first = _amplified(16, 5, text=[1] + [0] * 15, comment="only the first input bit: the identity passes it on")
    zero = _amplified(16, 5, seed=[0] * 15, comment="a seed of zeros: the first bits of the input")
    notes = {
        "Empty": Flag("EDGE_CASE", "Nothing to hash, or to nothing.", "An empty key is no error."),
        "Identity": Flag("EDGE_CASE", "One part of (I | T) alone.", "Shows order and direction of seed and input."),
        "TooLong": Flag("MALFORMED", "More output than input.", "Bits out of nothing."),
        "SeedSize": Flag("MALFORMED", "The seed does not fit the input.", "Drop the line: the peer sent it."),
    }
    return document(
        "QKD-PRIVACY",
        "privacy.v1.schema.json",
        Source(
            "tests/reference/toeplitz.py (matrix product by galois.GF2)",
            "1",
            "Hayashi and Tsurumaru, IEEE Trans. Inf. Theory 62:2213 (2016)",
        ),
        f"{HASH_RULE} Seed and key are packed; the seed is as it travels in the message Amplify.",
        notes,
        [group("PrivacyTest", [*tests, unit, first, zero, *_refused()])],
    )


def _amplified(
    n: int, length: int, *, text: list[int] | None = None, seed: list[int] | None = None, comment: str = ""
) -> Json:
    flags = ["Identity"] if comment else (["Empty"] if length == 0 else [])
    text = expand_bits(b"privacy vectors", f"input/{n}", n) if text is None else text
    seed = expand_bits(b"privacy vectors", f"seed/{n}", n - 1) if seed is None else seed
    by_matrix = reference.by_galois(_array(text), length, _array(seed)).tolist() if length else []
    assert by_matrix == _hash(text, length, seed)
    inputs = {"input": bits(text), "length": length, "seed": pack(seed).hex()}
    return case(comment or f"{n} bits to {length}", inputs, {"key": bits(by_matrix)}, flags=flags)


def _refused() -> list[Json]:
    text = expand_bits(b"privacy vectors", "input/20", 20)
    seed = pack(expand_bits(b"privacy vectors", "seed/20", 19))

    def one(comment: str, length: int, data: bytes, flag: str, result: str) -> Json:
        return case(comment, {"input": bits(text), "length": length, "seed": data.hex()}, flags=[flag], result=result)

    return [
        one("21 bits of 20", 21, seed, "TooLong", "ParameterError"),
        one("a negative length", -1, seed, "TooLong", "ParameterError"),
        one("a seed one byte short", 5, seed[:-1], "SeedSize", "RemoteProtocolError"),
        one("a seed one byte long", 5, seed + b"\x00", "SeedSize", "RemoteProtocolError"),
        one("padding bits of the seed set", 5, seed[:-1] + bytes([seed[-1] | 1]), "SeedSize", "RemoteProtocolError"),
    ]


def privacy_accumulated() -> Json:
    """Long keys by digest; sizes on both sides of every change of method in the fast code."""
    shapes = [(20, 1000, 400), (5, 10_000, 3000), (2, 40_000, 20_000), (1, 150_000, 60_000), (1, 1_200_000, 130_000)]
    seed = hashlib.sha256(b"privacy vectors").digest()
    return document(
        "QKD-PRIVACY",
        "privacy.v1.schema.json",
        Source(
            "tests/vectormaker/hashing.py (one product of Python integers)",
            "1",
            "Kronecker substitution; equal to tests/reference/toeplitz.py wherever that is fast enough",
        ),
        f"""{HASH_RULE} Run r (from 0) of a test has the 32-byte seed SHA-256(group seed || r as 4 bytes, big-endian);
        the input is expand_bits(seed, "input", inputBits), the hash's seed expand_bits(seed, "seed", inputBits - 1).
        sha256 is over the packed keys of all runs.""",
        {},
        [
            group(
                "PrivacyAccumulatedTest",
                [_accumulate(seed, *shape) for shape in shapes],
                randomness={"seed": seed.hex()},
            )
        ],
    )


def _accumulate(master: bytes, runs: int, n: int, length: int) -> Json:
    whole = hashlib.sha256()
    for run in range(runs):
        seed = hashlib.sha256(master + run.to_bytes(4, "big")).digest()
        text, drawn = expand_bits(seed, "input", n), expand_bits(seed, "seed", n - 1)
        key = by_integers(text, length, drawn)
        if n <= 1000 and run == 0:
            assert key == _hash(text, length, drawn)
        whole.update(pack(key))
    return case(
        f"{runs} times {n} bits to {length}",
        {"runs": runs, "inputBits": n, "length": length},
        {"sha256": whole.hexdigest()},
    )


def by_integers(text: list[int], length: int, seed: list[int]) -> list[int]:
    """The hash by one multiplication of two integers whose base-2^24 digits are the bits.

    Digit d of X(B) S(B), X from the bits x[length] .. x[n - 1] in this order, is the sum of x[length + a] s[b] over
    a + b = d; with a = n - 1 - length - j and b = i + j that is output i at d = n - 1 - length + i. Digits are below
    2^24, so none carries.
    """
    n = len(text)
    spread = _spread(text[length:]) * _spread(seed)
    digits = spread.to_bytes(3 * (2 * n + 1), "little")
    start = n - 1 - length
    return [text[i] ^ (digits[3 * (start + i)] & 1) for i in range(length)]


def _spread(values: list[int]) -> int:
    data = bytearray(3 * len(values))
    data[::3] = bytes(values)
    return int.from_bytes(data, "little")


# ------------------------------------------------------------------------------------------------ authentication

POLY1305_SCHEMA = file_schema(
    "POLY1305",
    "Poly1305 as a Wegman-Carter tag",
    [
        GroupSchema(
            "Poly1305Test",
            {"hashKey": HEX, "pad": HEX, "message": HEX},
            {"tag": HEX},
            errors=("ParameterError",),
        )
    ],
)

ZERO, ONE, TWO, ONES = "00" * 16, "01" + "00" * 15, "02" + "00" * 15, "ff" * 16
CARRY_KEY = "01" + "00" * 7 + "04" + "00" * 7
CARRY = "e33594d7505e43b9" + "00" * 8 + "3394d7505e4379cd01" + "00" * 7 + "00" * 16
# (section, hash key r, pad s, message, tag), from the RFC.
RFC_8439: list[tuple[str, str, str, str, str]] = [
    (
        "2.5.2",
        "85d6be7857556d337f4452fe42d506a8",
        "0103808afb0db2fd4abff6af4149f51b",
        b"Cryptographic Forum Research Group".hex(),
        "a8061dc1305136c6c22b8baf0c0127a9",
    ),
    ("A.3 #1", ZERO, ZERO, ZERO * 4, ZERO),
    ("A.3 #5", TWO, ZERO, ONES, "03" + "00" * 15),
    ("A.3 #6", TWO, ONES, TWO, "03" + "00" * 15),
    ("A.3 #7", ONE, ZERO, ONES + "f0" + "ff" * 15 + "11" + "00" * 15, "05" + "00" * 15),
    ("A.3 #8", ONE, ZERO, ONES + "fb" + "fe" * 15 + "01" * 16, ZERO),
    ("A.3 #9", TWO, ZERO, "fd" + "ff" * 15, "fa" + "ff" * 15),
    ("A.3 #10", CARRY_KEY, ZERO, CARRY + ONE, "14" + "00" * 7 + "55" + "00" * 7),
    ("A.3 #11", CARRY_KEY, ZERO, CARRY, "13" + "00" * 15),
]


def poly1305_file() -> Json:
    """The RFC's examples and the sizes between its blocks."""
    published = []
    for section, r, s, message, tag in RFC_8439:
        assert poly1305(bytes.fromhex(r), bytes.fromhex(s), bytes.fromhex(message)).hex() == tag, section
        flags = ["Carry"] if section.startswith("A.3") and section != "A.3 #1" else []
        published.append(
            case(f"RFC 8439, {section}", {"hashKey": r, "pad": s, "message": message}, {"tag": tag}, flags=flags)
        )
    key, pad = fixed_bytes("poly1305", 1, 16), fixed_bytes("poly1305", 2, 16)
    for size in (0, 1, 15, 16, 17, 1000):
        message = fixed_bytes("poly1305", 3, size)
        inputs = {"hashKey": key.hex(), "pad": pad.hex(), "message": message.hex()}
        published.append(case(f"{size} bytes", inputs, {"tag": poly1305(key, pad, message).hex()}))
    for r, s in ((key[:-1], pad), (key, pad[:-1]), (key + pad, b"")):
        inputs = {"hashKey": r.hex(), "pad": s.hex(), "message": ""}
        text = f"hash key of {len(r)} bytes, pad of {len(s)}"
        published.append(case(text, inputs, flags=["KeySize"], result="ParameterError"))
    notes = {
        "Carry": Flag("EDGE_CASE", "Sums near the prime or near 2^128.", "A lost carry gives another tag."),
        "KeySize": Flag("MALFORMED", "A key that is not 16 bytes.", "Never stretched or cut."),
    }
    return document(
        "POLY1305",
        "poly1305.v1.schema.json",
        Source("RFC 8439; the rest by tests/vectormaker/primitives.py", "1", "RFC 8439, sections 2.5.1, 2.5.2 and A.3"),
        "The tag is Poly1305 with r = hashKey (clamped by the function itself) and s = pad.",
        notes,
        [group("Poly1305Test", published)],
    )


_VIEW = obj(
    {
        "sessionId": HEX,
        "block": NATURAL,
        "software": TEXT,
        "agreed": TEXT,
        "transcript": array(obj({"sender": {"enum": ["alice", "bob"]}, "encoded": HEX})),
    }
)
TAG_SCHEMA = file_schema(
    "QKD-AUTHENTICATION",
    "Tags over a conversation",
    [
        GroupSchema(
            "TagTest",
            {
                "sender": {"enum": ["alice", "bob"]},
                "stage": {"enum": ["transcript", "accept", "settle"]},
                "padsUsed": NATURAL,
                "said": _VIEW,
                "seen": _VIEW,
                "presented": obj({"pad": INTEGER, "tag": HEX}),
            },
            {"pad": NATURAL, "tag": HEX},
            randomness={"preSharedSecret": HEX},
            intermediate={"tagged": HEX},
            errors=("AuthenticationError", "KeyExhausted"),
        )
    ],
)

PRE_SHARED = fixed_bytes("tag vectors", 1, 16 * 10)
LETTER = {"alice": b"A", "bob": b"B", "transcript": b"T", "accept": b"A", "settle": b"S"}


def _tagged(view: Json, sender: str, stage: str) -> bytes:
    frames = b""
    for message in view["transcript"]:
        data = bytes.fromhex(message["encoded"])
        frames += LETTER[message["sender"]] + len(data).to_bytes(8, "big") + data
    agreed, software = view["agreed"].encode(), view["software"].encode()
    head = b"entangled-qkd tag" + (3).to_bytes(2, "big") + LETTER[sender] + LETTER[stage]
    head += bytes.fromhex(view["sessionId"]) + view["block"].to_bytes(8, "big")
    head += len(software).to_bytes(8, "big") + software
    return head + len(agreed).to_bytes(8, "big") + agreed + len(frames).to_bytes(8, "big") + frames


def _tag_of(view: Json, sender: str, stage: str, pad: int) -> bytes:
    chunks = [PRE_SHARED[i : i + 16] for i in range(0, len(PRE_SHARED), 16)]
    second = sender == "bob"
    return poly1305(chunks[second], chunks[2 + second :: 2][pad], _tagged(view, sender, stage))


def _said(**other: object) -> Json:
    transcript = [
        {"sender": "bob", "encoded": message_pack({"type": "MoreDetections"}).hex()},
        {"sender": "alice", "encoded": message_pack({"type": "SampleAnswer", "bits_z": b"\xa0", "bits_x": b""}).hex()},
    ]
    agreed, software = '{"window_ps":1000} entangled-qkd', '["entangled-qkd 1","entangled-qkd 2"]'
    inputs = {"sessionId": bytes(range(16)).hex(), "block": 7, "software": software, "agreed": agreed}
    return inputs | {"transcript": transcript, **other}


def tags() -> Json:
    """Tags made and checked; everything that a tag must not survive."""
    said = _said()
    swapped = said["transcript"][::-1]
    senders = [{"sender": "alice", "encoded": m["encoded"]} for m in said["transcript"]]
    flipped = [
        said["transcript"][0],
        {**said["transcript"][1], "encoded": said["transcript"][1]["encoded"][:-2] + "01"},
    ]
    longer = [*said["transcript"], said["transcript"][0]]

    def good(text: str, sender: str, stage: str, used: int, view: Json) -> Json:
        tag = _tag_of(view, sender, stage, used)
        shown = {"pad": used, "tag": tag.hex()}
        inputs = {"sender": sender, "stage": stage, "padsUsed": used, "said": view, "seen": view, "presented": shown}
        return case(text, inputs, shown, intermediate={"tagged": _tagged(view, sender, stage).hex()})

    def bad(text: str, flag: str, result: str = "AuthenticationError", *, pad: int = 0, **other: object) -> Json:
        tag = other.pop("tag", _tag_of(said, "alice", "transcript", 0))
        assert isinstance(tag, bytes)
        inputs = {
            "sender": other.pop("sender", "alice"),
            "stage": other.pop("stage", "transcript"),
            "padsUsed": 0,
            "said": said,
            "seen": {**said, **other},
            "presented": {"pad": pad, "tag": tag.hex()},
        }
        return case(text, inputs, flags=[flag], result=result)

    honest = _tag_of(said, "alice", "transcript", 0)
    tests = [
        good("Alice over the transcript", "alice", "transcript", 0, said),
        good("Bob over the transcript", "bob", "transcript", 0, said),
        good("Alice accepts, with her second pad", "alice", "accept", 1, said),
        good("Alice settles a block whose acceptance was lost", "alice", "settle", 1, said),
        good("nothing was said", "bob", "transcript", 2, _said(transcript=[])),
        good("the largest block number", "alice", "transcript", 0, _said(block=(1 << 64) - 1)),
        bad("one byte of a message differs", "Altered", transcript=flipped),
        bad("two messages in the other order", "Altered", transcript=swapped),
        bad("the last message is missing", "Altered", transcript=said["transcript"][:1]),
        bad("one message more", "Altered", transcript=longer),
        bad("a message of the other sender", "Altered", transcript=senders),
        bad("another session", "Context", sessionId=bytes(16).hex()),
        bad("another block", "Context", block=8),
        bad("other parameters", "Context", agreed='{"window_ps":2000} entangled-qkd'),
        bad("other software", "Context", software='["entangled-qkd 1","entangled-qkd 3"]'),
        bad("another stage", "Context", stage="accept"),
        bad("the stage of a block left open", "Context", stage="settle"),
        bad("the peer's own tag sent back", "Context", sender="bob"),
        bad("one bit of the tag", "Forged", tag=bytes([honest[0] ^ 1, *honest[1:]])),
        bad("an empty tag", "Forged", tag=b""),
        bad("half a tag", "Forged", tag=honest[:8]),
        bad("under another pad than named", "Forged", pad=1),
        bad("a negative pad number", "PadNumber", pad=-1),
        bad("a pad number far ahead", "PadNumber", pad=257),
        bad("a pad beyond the stock", "PadNumber", "KeyExhausted", pad=4),
    ]
    notes = {
        "Altered": Flag("AUTH_BYPASS", "What Eve changed on the line.", "A key from an altered conversation."),
        "Context": Flag("AUTH_BYPASS", "A true tag, moved elsewhere.", "Replay, reflection or a downgrade."),
        "Forged": Flag("AUTH_BYPASS", "A tag that nobody made.", "Eve speaks."),
        "PadNumber": Flag(
            "AUTH_BYPASS", "A pad that must not or cannot be used.", "Pads are used once; none burnt en masse."
        ),
    }
    return document(
        "QKD-AUTHENTICATION",
        "authentication.v1.schema.json",
        Source(
            "tests/vectormaker/primitives.py (Poly1305 in plain Python)",
            "1",
            "RFC 8439; docstring of qkd/exchange/auth.py",
        ),
        """The pre-shared secret is cut in pieces of 16 bytes: the hash key of Alice's tags, that of Bob's, then pads of
        Alice and of Bob in turn, numbered from 0 each; `padsUsed` of the sender's are spent before. `tagged` is
        "entangled-qkd tag", version 2 (2 bytes), sender A or B, stage T, A or S, session id, block (8 bytes), length of
        `software` (8 bytes), `software`, length of `agreed` (8 bytes), `agreed`, length of the transcript (8 bytes), transcript; integers big-endian. The transcript
        is, per message, A or B, length (8 bytes), message. The tag is over what was `said`; the other side checks
        what is `presented` against what it has `seen`, every pad unused.""",
        notes,
        [group("TagTest", tests, randomness={"preSharedSecret": PRE_SHARED.hex()})],
    )
