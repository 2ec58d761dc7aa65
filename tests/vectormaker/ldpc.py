"""Vectors of LDPC reconciliation: the rules once more in plain Python, decoding by tests/reference/ldpc.py."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from tests.reference import ldpc as reference
from tests.vectormaker.frame import (
    BITS,
    HEX,
    NATURAL,
    NUMBER,
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
from tests.vectormaker.primitives import expand_bits, expand_permutation, message_pack, pack_ascending, shake, to_bits

SEED = hashlib.sha256(b"ldpc vectors").digest()
SOURCE = Source(
    "tests/vectormaker/ldpc.py (lists of integers) and tests/reference/ldpc.py (float64)",
    "1",
    "docstrings of qkd/reconciliation/ldpc.py, adaption.py, codewords.py and qkd/kernels/ldpc.py",
)
RULE = """A code has `rows` x `columns` circulants of size Z = `lifting`; entry [r, c, s] joins check r Z + t to position
    c Z + (t + s) mod Z, t = 0 .. Z - 1. `codes` is a family, fewest rows first. How a frame becomes pieces, and a piece
    positions, is in the docstring of qkd/reconciliation/adaption.py, with SHORTEST = 8 and MARGIN = 0.1; the leak wanted of a piece of n
    bits is linear n h(q) + spread sqrt(n q (1 - q)) log2((1 - q) / q), q the frame's qber, at least 0.001 and at most
    0.25. Payload position i (in ascending order of positions) holds bit p[i] of the piece, p the permutation
    "ldpc/<n>" expanded from the seed; punctured positions hold the bits of `filler`, piece by piece; the others zero.
    `syndromes` are the checks of all pieces, packed. Alice draws `seed`, then `filler`."""

_CODE = obj(
    {
        "name": TEXT,
        "payloadBits": NATURAL,
        "lifting": NATURAL,
        "rows": NATURAL,
        "columns": NATURAL,
        "puncturable": array(NATURAL),
        "entries": array(array(NATURAL)),
    }
)
_PARAMETERS: Json = {
    "codes": array(_CODE),
    "linear": NUMBER,
    "spread": NUMBER,
    "iterations": array(NATURAL),
    "steps": array(NUMBER),
    "patience": NATURAL,
}
_DRAWN: Json = {"seed": HEX, "filler": HEX}
_PLACES = array(obj({"code": TEXT, "punctured": array(NATURAL), "shortened": array(NATURAL)}))
_ERRORS = ("ParameterError", "RemoteProtocolError")


def _whole(kind: str, expected: Json) -> GroupSchema:
    return GroupSchema(
        kind,
        {**_DRAWN, "frames": array(obj({"alice": BITS, "bob": BITS, "qber": NUMBER}))},
        {"corrected": array(BITS), "errors": array(NATURAL), **expected},
        parameters=_PARAMETERS,
        intermediate={"places": _PLACES, "syndromes": HEX},
        errors=_ERRORS,
    )


SCHEMA = file_schema(
    "QKD-LDPC",
    "Error correction by rate-adaptive LDPC codes",
    [
        _whole("LdpcOneWayTest", {"leakEcBits": array(NATURAL)}),
        _whole("LdpcBlindTest", {}),
        GroupSchema(
            "LdpcRevealTest",
            {
                **_DRAWN,
                "frames": array(obj({"alice": BITS, "qber": NUMBER})),
                "requests": array(obj({"positions": array(NATURAL), "more": HEX})),
            },
            {"revealed": array(HEX), "leakEcBits": array(NATURAL), "leakBobBits": array(NATURAL)},
            parameters=_PARAMETERS,
            errors=_ERRORS,
        ),
        GroupSchema(
            "LdpcHostileTest",
            {
                **_DRAWN,
                "role": {"enum": ["alice", "bob"]},
                "frames": array(obj({"bits": BITS, "qber": NUMBER})),
                "received": array(HEX),
            },
            {},
            parameters=_PARAMETERS,
            errors=_ERRORS,
        ),
    ],
)


@dataclass(frozen=True)
class Code:
    """A code of the vectors: 32 payload columns of three entries, then columns of one entry."""

    name: str
    rows: int
    extra: int
    seed: int
    lifting: int = 16
    payload_columns: int = 32

    @property
    def columns(self) -> int:
        return self.payload_columns + self.extra

    @property
    def length(self) -> int:
        return self.columns * self.lifting

    @property
    def checks(self) -> int:
        return self.rows * self.lifting

    @property
    def edges(self) -> list[reference.Edge]:
        edges = reference.small_base(self.rows, self.payload_columns, self.lifting, 3, self.seed)
        return sorted(edges + [(self.rows - 1 - k, self.payload_columns + k, 0) for k in range(self.extra)])

    @property
    def puncturable(self) -> list[int]:
        return list(range(self.payload_columns, self.columns))

    def json(self) -> Json:
        return {
            "name": self.name,
            "payloadBits": self.payload_columns * self.lifting,
            "lifting": self.lifting,
            "rows": self.rows,
            "columns": self.columns,
            "puncturable": self.puncturable,
            "entries": [list(edge) for edge in self.edges],
        }


CODES = (Code("weak", 8, 2, 1), Code("strong", 12, 4, 2))
F = CODES[0].payload_columns * CODES[0].lifting


@cache
def _checks(name: str, more: int) -> list[list[int]]:
    """Positions of each check of a code, `more` rows of the other code after its own."""
    code = next(c for c in CODES if c.name == name)
    checks = [list(check) for layer in reference.layers(code.edges, code.rows, code.lifting) for check in layer]
    donor = CODES[-1] if code is not CODES[-1] else CODES[-2]
    lendable = [r for r in range(donor.rows) if not any(e[0] == r and e[1] in donor.puncturable for e in donor.edges)]
    size = len(lendable)
    stride = min((g for g in range(1, size + 1) if math.gcd(g, size) == 1), key=lambda g: abs(g - 0.618 * size))
    layers = reference.layers(donor.edges, donor.rows, donor.lifting)
    for k in range(more):
        checks += [list(check) for check in layers[lendable[k * stride % size]]]
    return checks


@dataclass(frozen=True)
class Preset:
    """The numbers of a preset."""

    linear: float
    spread: float
    steps: tuple[float, ...] = ()

    def wanted(self, n: int, qber: float) -> float:
        q = min(max(qber, 0.001), 0.25)
        entropy = -q * math.log2(q) - (1 - q) * math.log2(1 - q)
        return self.linear * n * entropy + self.spread * math.sqrt(n * q * (1 - q)) * math.log2((1 - q) / q)

    def json(self) -> Json:
        return {
            "codes": [code.json() for code in CODES],
            "linear": self.linear,
            "spread": self.spread,
            "iterations": [60] * (len(self.steps) + 1),
            "steps": list(self.steps),
            "patience": 60,
        }


@dataclass(frozen=True)
class Piece:
    """A codeword of a batch."""

    frame: int
    start: int
    n: int
    qber: float
    code: Code
    payload: list[int]
    punctured: list[int]
    shortened: list[int]


def _pieces(lengths: Sequence[int], qbers: Sequence[float], preset: Preset) -> list[Piece]:
    made = []
    for f, (length, qber) in enumerate(zip(lengths, qbers, strict=True)):
        count = -(-length // F)
        for i in range(count):
            start, end = length * i // count, length * (i + 1) // count
            made.append(_piece(f, start, end - start, qber, preset))
    return made


def _piece(frame: int, start: int, n: int, qber: float, preset: Preset) -> Piece:
    leak = preset.wanted(n, qber) * (1 + 0.1 * (1 - n / F))
    code = next((c for c in CODES if c.checks >= leak), CODES[-1])
    order = [c * code.lifting + t for c in code.puncturable for t in range(code.lifting)]
    p = min(max(0, int(code.checks - leak)), len(order))
    rest = [i for i in range(code.length) if i not in order]
    payload = [rest[i * len(rest) // n] for i in range(n)]
    return Piece(frame, start, n, qber, code, payload, order[:p], order[p:] + sorted(set(rest) - set(payload)))


@dataclass(frozen=True)
class Frame:
    """One string at both ends."""

    alice: list[int]
    errors: tuple[int, ...]
    qber: float

    @property
    def bob(self) -> list[int]:
        return [bit ^ (i in self.errors) for i, bit in enumerate(self.alice)]


def _frame(n: int, errors: int, qber: float, label: str = "") -> Frame:
    wrong = expand_permutation(SEED, f"errors/{n}{label}", n)[0][:errors]
    return Frame(expand_bits(SEED, f"alice/{n}{label}", n), tuple(wrong), qber)


def _filler(pieces: Sequence[Piece]) -> bytes:
    return shake(SEED + b"filler", (sum(len(p.punctured) for p in pieces) + 7) // 8)


def _words(strings: Sequence[list[int]], pieces: Sequence[Piece], filler: Sequence[int]) -> list[list[int]]:
    """The codewords."""
    words, used = [], 0
    for piece in pieces:
        word = [0] * piece.code.length
        order = expand_permutation(SEED, f"ldpc/{piece.n}", piece.n)[0]
        for place, i in zip(piece.payload, order, strict=True):
            word[place] = strings[piece.frame][piece.start + i]
        for place in piece.punctured:
            word[place] = filler[used]
            used += 1
        words.append(word)
    return words


def _syndrome(piece: Piece, word: Sequence[int], more: int = 0) -> list[int]:
    return [sum(word[i] for i in check) % 2 for check in _checks(piece.code.name, more)]


def _decodes(piece: Piece, ours: Sequence[int], theirs: Sequence[int]) -> bool:
    """Whether the reference finds the errors from the first message alone."""
    wrong = [a ^ b for a, b in zip(ours, theirs, strict=True)]
    priors = np.full(len(wrong), 60.0)
    q = min(max(piece.qber, 0.001), 0.25)
    priors[piece.payload] = math.log((1 - q) / q)
    priors[piece.punctured] = 0
    layers = reference.layers(piece.code.edges, piece.code.rows, piece.code.lifting)
    found, _, met, _ = reference.decode(layers, np.array(_syndrome(piece, wrong)), priors, 60)
    return met and found[piece.payload].tolist() == [wrong[i] for i in piece.payload]


def _whole_case(comment: str, frames: Sequence[Frame], preset: Preset, *flags: str) -> Json:
    pieces = _pieces([len(f.alice) for f in frames], [f.qber for f in frames], preset)
    filler = _filler(pieces)
    padded = to_bits(filler, 8 * len(filler))
    ours = _words([f.alice for f in frames], pieces, padded)
    theirs = _words([f.bob for f in frames], pieces, [0] * len(padded))
    decoded = all(_decodes(piece, a, b) for piece, a, b in zip(pieces, ours, theirs, strict=True))
    assert decoded != bool(preset.steps), f"{comment}: not a case for this preset"
    expected: Json = {
        "corrected": [bits(f.alice) for f in frames],
        "errors": [len(f.errors) for f in frames],
    }
    if not preset.steps:
        leak = [0] * len(frames)
        for piece in pieces:
            leak[piece.frame] += piece.code.checks - len(piece.punctured)
        expected["leakEcBits"] = leak
    places = [{"code": p.code.name, "punctured": p.punctured, "shortened": p.shortened} for p in pieces]
    syndromes = [bit for piece, word in zip(pieces, ours, strict=True) for bit in _syndrome(piece, word)]
    return case(
        comment,
        {
            "seed": SEED.hex(),
            "filler": filler.hex(),
            "frames": [{"alice": bits(f.alice), "bob": bits(f.bob), "qber": f.qber} for f in frames],
        },
        expected,
        flags=flags,
        intermediate={"places": places, "syndromes": pack(syndromes).hex()},
    )


Request = tuple[list[int], list[int]]  # positions of the batch, further rows of each piece or none


def _reveal_case(comment: str, frames: Sequence[Frame], requests: Sequence[Request], preset: Preset, flag: str) -> Json:
    pieces = _pieces([len(f.alice) for f in frames], [f.qber for f in frames], preset)
    filler = _filler(pieces)
    words = _words([f.alice for f in frames], pieces, to_bits(filler, 8 * len(filler)))
    flat = [bit for word in words for bit in word]
    owner = [k for k, word in enumerate(words) for _ in word]
    leak = [piece.code.checks - len(piece.punctured) for piece in pieces]
    asked = [0] * len(pieces)
    rows = [0] * len(pieces)
    revealed = []
    for positions, more in requests:
        length = 8 * (len(pack_ascending(positions)[1]) + len(more))
        for k in range(len(pieces)):
            values = sum(owner[i] == k for i in positions)
            leak[k] += values
            asked[k] += max(1, -(-length * (1 + values) // (len(pieces) + len(positions))))
        if not positions and not any(more):
            continue
        answer: list[int] = []
        for k, count in enumerate(more):
            before = len(_syndrome(pieces[k], words[k], rows[k]))
            rows[k] += count
            answer += _syndrome(pieces[k], words[k], rows[k])[before:]
            leak[k] += count * pieces[k].code.lifting
        answer += [flat[i] for i in positions]
        revealed.append(pack(answer).hex())
    totals = [[0, 0] for _ in frames]
    for piece, mine, theirs in zip(pieces, leak, asked, strict=True):
        totals[piece.frame][0] += mine
        totals[piece.frame][1] += min(mine, theirs)
    return case(
        comment,
        {
            "seed": SEED.hex(),
            "filler": filler.hex(),
            "frames": [{"alice": bits(f.alice), "qber": f.qber} for f in frames],
            "requests": [{"positions": p, "more": bytes(m).hex()} for p, m in requests],
        },
        {"revealed": revealed, "leakEcBits": [t[0] for t in totals], "leakBobBits": [t[1] for t in totals]},
        flags=[flag],
    )


ONE_WAY = Preset(2.5, 1.5)
BLIND = Preset(1.5, 0.0, (0.15, 0.2, 0.3, 0.6, 1.5))


def small() -> Json:
    """Frames of a few hundred bits under two small codes."""
    one_way = [
        _whole_case("no error", [_frame(512, 0, 0.01)], ONE_WAY),
        _whole_case(
            "three errors, part of the extra columns punctured", [_frame(512, 3, 0.0065)], ONE_WAY, "Punctured"
        ),
        _whole_case("a frame shorter than the code", [_frame(400, 2, 0.008)], ONE_WAY, "Shortened"),
        _whole_case("a frame longer than the code", [_frame(1001, 4, 0.008)], ONE_WAY, "Pieces"),
        _whole_case("two frames of one message", [_frame(512, 4, 0.01), _frame(300, 1, 0.005)], ONE_WAY, "Batch"),
        _whole_case("prior of zero is taken as 0.1 %", [_frame(512, 0, 0.0)], ONE_WAY, "Prior"),
    ]
    blind = [
        _whole_case("more errors than the first message corrects", [_frame(512, 16, 0.02)], BLIND, "Blind"),
        _whole_case("far more errors than expected", [_frame(512, 20, 0.01)], BLIND, "Blind"),
    ]
    two = [_frame(512, 0, 0.02), _frame(500, 0, 0.02)]
    pieces = _pieces([512, 500], [0.02, 0.02], BLIND)
    second = pieces[0].code.length
    reveal = [
        _reveal_case("nothing is asked for", two, [([], [])], BLIND, "Reveal"),
        _reveal_case("values of both codewords", two, [([0, 5, 511, second + 3], []), ([], [])], BLIND, "Reveal"),
        _reveal_case("a punctured position", two, [(pieces[0].punctured[:2], []), ([], [])], BLIND, "Reveal"),
        _reveal_case("further parities, then values", two, [([], [2, 0]), ([1, 2], []), ([], [])], BLIND, "Extended"),
        _reveal_case(
            "both at once, and more rows later",
            two,
            [([second + 9], [1, 3]), ([3], [2, 0]), ([], [])],
            BLIND,
            "Extended",
        ),
        _reveal_case(
            "after the last round nobody asks", two, [([10 * i], []) for i in range(len(BLIND.steps))], BLIND, "Reveal"
        ),
    ]
    notes = {
        "Punctured": Flag("BASIC", "Random bits hide some parities.", "They would be counted, or leak."),
        "Shortened": Flag("BASIC", "Zeros fill the codeword.", "Both sides must leave out the same positions."),
        "Pieces": Flag("EDGE_CASE", "A frame of several codewords.", "Its parts must join again."),
        "Batch": Flag("BASIC", "Several frames a message.", "Their parities follow one another in frame order."),
        "Prior": Flag("EDGE_CASE", "A prior at the end of its range.", "Division by zero."),
        "Blind": Flag("BASIC", "Bob must ask.", "What he asks for is up to him; it must end in Alice's string."),
        "Reveal": Flag("BASIC", "Values of positions.", "Each costs one bit, punctured ones too."),
        "Extended": Flag("BASIC", "Further base rows of the other code.", "Each costs as many bits as it has checks."),
        "Malformed": Flag("MALFORMED", "A message of the wrong size or kind.", "Drop the line."),
        "Greedy": Flag("MALFORMED", "A request that no honest Bob makes.", "He would learn the string: drop the line."),
    }
    return document(
        "QKD-LDPC",
        "ldpc.v1.schema.json",
        SOURCE,
        f"Alice's parities correct Bob's string. {RULE} In reveal tests Alice meets `requests`; leakBobBits shares the "
        "length of each request's deltas and more, in bits, out as codewords.Codewords.admit says. In hostile tests one "
        "role meets `received`, message by message.",
        notes,
        [
            group("LdpcOneWayTest", one_way, parameters=ONE_WAY.json()),
            group("LdpcBlindTest", blind, parameters=BLIND.json()),
            group("LdpcRevealTest", reveal, parameters=BLIND.json()),
            group("LdpcHostileTest", _hostile(), parameters=BLIND.json()),
        ],
    )


def _hostile() -> list[Json]:
    frame = _frame(512, 0, 0.02)
    piece = _pieces([512], [0.02], BLIND)[0]
    filler = _filler([piece])
    checks = _syndrome(piece, _words([frame.alice], [piece], to_bits(filler, 8 * len(filler)))[0])
    syndromes = pack(checks)
    assert len(checks) % 8 == 0

    def one(text: str, role: str, received: list[bytes], flag: str) -> Json:
        inputs = {
            "seed": SEED.hex(),
            "filler": filler.hex(),
            "role": role,
            "frames": [{"bits": bits(frame.alice), "qber": frame.qber}],
            "received": [r.hex() for r in received],
        }
        return case(text, inputs, flags=[flag], result="RemoteProtocolError")

    def first(seed: bytes, data: bytes) -> bytes:
        return message_pack({"type": "LdpcSyndromes", "seed": seed, "bits": data})

    def ask(positions: list[int], more: bytes = b"") -> bytes:
        width, deltas = pack_ascending(positions)
        return _request(len(positions), width, deltas, more)

    def _request(count: int, width: int, deltas: bytes, more: bytes) -> bytes:
        fields = {"count": count, "width": width, "deltas": deltas, "more": more}
        return message_pack({"type": "LdpcRequest", **fields})

    reveal = message_pack({"type": "LdpcReveal", "bits": b""})
    room = piece.n - (piece.code.checks - len(piece.punctured))
    return [
        one("Bob: a seed of 31 bytes", "bob", [first(SEED[1:], syndromes)], "Malformed"),
        one("Bob: one byte of parities too few", "bob", [first(SEED, syndromes[1:])], "Malformed"),
        one("Bob: one byte of parities too many", "bob", [first(SEED, syndromes + b"\x00")], "Malformed"),
        one("Bob: values before the parities", "bob", [reveal], "Malformed"),
        one("Alice: values instead of a request", "alice", [reveal], "Malformed"),
        one("Alice: a negative count", "alice", [_request(-1, 0, b"", b"")], "Malformed"),
        one("Alice: a position of which no bit came", "alice", [_request(1, 0, b"", b"")], "Malformed"),
        one("Alice: two counts of rows for one codeword", "alice", [ask([], b"\x01\x01")], "Malformed"),
        one("Alice: a position twice in a request", "alice", [ask([4, 4])], "Greedy"),
        one("Alice: a position again", "alice", [ask([4]), ask([4])], "Greedy"),
        one("Alice: a position beyond the end", "alice", [ask([piece.code.length])], "Greedy"),
        one("Alice: a shortened position", "alice", [ask([piece.shortened[0]])], "Greedy"),
        one("Alice: more rows than there are", "alice", [ask([], b"\x09")], "Greedy"),
        one("Alice: more values than the parities left", "alice", [ask(piece.payload[: room + 1])], "Greedy"),
        one(
            "Alice: the same in two requests",
            "alice",
            [ask(piece.payload[:room]), ask([piece.payload[room]])],
            "Greedy",
        ),
    ]
