"""Vectors of verification, privacy amplification and authentication: the universal hashes of the stack."""

from __future__ import annotations

import hashlib

import numpy as np

from tests.reference import toeplitz as reference
from tests.vectormaker.frame import (
    BITS,
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

_STRINGS = obj({"z": BITS, "x": BITS})
VERIFICATION_SCHEMA = file_schema(
    "QKD-VERIFICATION",
    "Error verification",
    [
        GroupSchema(
            "VerificationTest",
            {"alice": _STRINGS, "bob": _STRINGS, "draw": HEX},
            {"verifyBitsZ": NATURAL, "verifyBitsX": NATURAL},
            parameters={"tagBits": NATURAL},
            intermediate={"messages": array(HEX)},
            errors=("VerificationFailed",),
        ),
        GroupSchema(
            "VerificationHostileTest",
            {"bob": _STRINGS, "received": HEX},
            {},
            parameters={"tagBits": NATURAL},
            errors=("RemoteProtocolError", "VerificationFailed"),
        ),
    ],
)


def _string(name: str, n: int, wrong: tuple[int, ...] = ()) -> list[int]:
    return [bit ^ (i in wrong) for i, bit in enumerate(expand_bits(b"verification vectors", name, n))]


def tag(text: list[int], tag_bits: int, seed: list[int]) -> bytes:
    """Verification tag of one string, packed."""
    length = min(tag_bits, len(text))
    return pack(_hash(text, length, seed[: max(0, len(text) - 1)]))


def _verify(comment: str, n_z: int, n_x: int, tag_bits: int, wrong: dict[str, tuple[int, ...]], *flags: str) -> Json:
    seed_bits = max(0, max(n_z, n_x) - 1)
    draw = fixed_bytes(f"verification/{comment}", 1, (seed_bits + 7) // 8)
    seed = to_bits(draw, seed_bits)
    alice = {"z": _string("z", n_z), "x": _string("x", n_x)}
    bob = {name: _string(name, len(alice[name]), wrong.get(name, ())) for name in "zx"}
    inputs = {
        "alice": {name: bits(text) for name, text in alice.items()},
        "bob": {name: bits(text) for name, text in bob.items()},
        "draw": draw.hex(),
    }
    tags = {name: (tag(alice[name], tag_bits, seed), tag(bob[name], tag_bits, seed)) for name in "zx"}
    if any(mine != theirs for mine, theirs in tags.values()):
        return case(comment, inputs, flags=flags, result="VerificationFailed")
    said = [
        {"type": "VerificationTags", "seed": pack(seed), "tag_z": tags["z"][0], "tag_x": tags["x"][0]},
        {"type": "VerificationResult", "equal_z": True, "equal_x": True},
    ]
    expected = {"verifyBitsZ": min(tag_bits, n_z), "verifyBitsX": min(tag_bits, n_x)}
    return case(
        comment, inputs, expected, flags=flags, intermediate={"messages": [message_pack(m).hex() for m in said]}
    )


def verification() -> Json:
    """Equal strings, differing strings, strings shorter than the tag."""
    t = 64
    tests = [
        _verify("equal", 300, 280, t, {}),
        _verify("equal, Z the shorter", 65, 300, t, {}),
        _verify("one bit differs in Z", 300, 280, t, {"z": (17,)}, "Differs"),
        _verify("the last bit differs in X", 300, 280, t, {"x": (279,)}, "Differs"),
        _verify("the first bit differs in Z", 300, 280, t, {"z": (0,)}, "Differs"),
        _verify("both differ in many bits", 300, 280, t, {"z": tuple(range(0, 300, 3)), "x": (5, 6)}, "Differs"),
        _verify("strings shorter than the tag are their own tags", 40, 7, t, {}, "Short"),
        _verify("a short string that differs", 40, 7, t, {"x": (3,)}, "Short", "Differs"),
        _verify("no Z bits", 0, 100, t, {}, "Short"),
        _verify("one bit each", 1, 1, t, {}, "Short"),
    ]
    notes = {
        "Differs": Flag("BASIC", "Bob's string is not Alice's.", "Two different keys would be delivered."),
        "Short": Flag("EDGE_CASE", "A string has fewer bits than the tag.", "It is disclosed whole; leaves no key."),
        "Malformed": Flag("MALFORMED", "Seed or tag of another size.", "A shorter tag would be easier to meet."),
    }
    return document(
        "QKD-VERIFICATION",
        "verification.v1.schema.json",
        Source(
            "tests/reference/toeplitz.py (by definition)",
            "1",
            "Hayashi and Tsurumaru, IEEE Trans. Inf. Theory 62:2213 (2016)",
        ),
        f"""Alice sends a seed and the tags of her two strings, Bob whether his give the same. {HASH_RULE} A tag is the
        hash to min(tagBits, n) bits; both use the front of one seed of max(n) - 1 bits, the first bits of `draw`.""",
        notes,
        [
            group("VerificationTest", tests, parameters={"tagBits": t}),
            group("VerificationHostileTest", _hostile_tags(t), parameters={"tagBits": t}),
        ],
    )


def _hostile_tags(tag_bits: int) -> list[Json]:
    strings = {"z": _string("z", 100), "x": _string("x", 90)}
    seed = to_bits(fixed_bytes("verification/hostile", 1, 13), 99)
    tags = {name: tag(text, tag_bits, seed) for name, text in strings.items()}

    def one(text: str, result: str = "RemoteProtocolError", **other: bytes) -> Json:
        fields = {"seed": pack(seed), "tag_z": tags["z"], "tag_x": tags["x"], **other}
        received = message_pack({"type": "VerificationTags", **fields}).hex()
        shown = {name: bits(text) for name, text in strings.items()}
        flag = "Differs" if result == "VerificationFailed" else "Malformed"
        return case(text, {"bob": shown, "received": received}, flags=[flag], result=result)

    altered = bytes([tags["x"][0], *tags["x"][1:-1], tags["x"][-1] ^ 1])
    return [
        one("a seed one byte short", seed=pack(seed)[:-1]),
        one("a seed one byte long", seed=pack(seed) + b"\x00"),
        one("a seed with a padding bit set", seed=pack(seed)[:-1] + bytes([pack(seed)[-1] | 1])),
        one("an empty tag of Z", tag_z=b""),
        one("a tag of X cut to one byte", tag_x=tags["x"][:1]),
        one("the last bit of the tag of X inverted", "VerificationFailed", tag_x=altered),
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
                "stage": {"enum": ["transcript", "accept"]},
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
LETTER = {"alice": b"A", "bob": b"B", "transcript": b"T", "accept": b"A"}


def _tagged(view: Json, sender: str, stage: str) -> bytes:
    frames = b""
    for message in view["transcript"]:
        data = bytes.fromhex(message["encoded"])
        frames += LETTER[message["sender"]] + len(data).to_bytes(8, "big") + data
    agreed = view["agreed"].encode()
    head = b"entangled-qkd tag" + (1).to_bytes(2, "big") + LETTER[sender] + LETTER[stage]
    head += bytes.fromhex(view["sessionId"]) + view["block"].to_bytes(8, "big")
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
    agreed = '{"window_ps":1000} entangled-qkd'
    return {"sessionId": bytes(range(16)).hex(), "block": 7, "agreed": agreed, "transcript": transcript, **other}


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
        bad("another stage", "Context", stage="accept"),
        bad("the peer's own tag sent back", "Context", sender="bob"),
        bad("one bit of the tag", "Forged", tag=bytes([honest[0] ^ 1, *honest[1:]])),
        bad("an empty tag", "Forged", tag=b""),
        bad("half a tag", "Forged", tag=honest[:8]),
        bad("under another pad than named", "Forged", pad=1),
        bad("a negative pad number", "PadNumber", pad=-1),
        bad("a pad number far ahead", "PadNumber", pad=256),
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
        "entangled-qkd tag", version 1 (2 bytes), sender A or B, stage T or A, session id, block (8 bytes), length of
        `agreed` (8 bytes), `agreed`, length of the transcript (8 bytes), transcript; integers big-endian. The transcript
        is, per message, A or B, length (8 bytes), message. The tag is over what was `said`; the other side checks
        what is `presented` against what it has `seen`, every pad unused.""",
        notes,
        [group("TagTest", tests, randomness={"preSharedSecret": PRE_SHARED.hex()})],
    )
