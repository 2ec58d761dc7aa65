"""Vectors of clicks, coincidences, sifting and the sample, from plain loops that know the rules' wording alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tests.vectormaker.frame import (
    BITS,
    HEX,
    INTEGER,
    NATURAL,
    NUMBER,
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
from tests.vectormaker.primitives import (
    expand_bits,
    expand_permutation,
    fixed_bytes,
    message_pack,
    pack_ascending,
    rice,
    to_bits,
)

SOURCE = Source("tests/vectormaker/sifting.py (plain Python)", "1", "docstrings of the modules named in the header")
TAGS = obj({"tPs": array(INTEGER), "channel": array(NATURAL)})
Click = tuple[int, int]  # time in ps, detector

# ------------------------------------------------------------------------------------------------------- clicks

CLICKS_SCHEMA = file_schema(
    "QKD-CLICKS",
    "Clicks to detection events",
    [
        GroupSchema(
            "ClicksTest",
            {"tPs": array(INTEGER), "channel": array(NATURAL), "draws": array(HEX)},
            {"tPs": array(INTEGER), "basis": BITS, "bit": BITS, "doubleClicks": NATURAL},
            parameters={"doubleClickPs": NATURAL},
            errors=("ParameterError",),
        )
    ],
)


def grouped(clicks: list[Click], double_click_ps: int) -> list[list[Click]]:
    """Clicks closer than this to the one before belong to its event."""
    events: list[list[Click]] = []
    for click in clicks:
        if events and click[0] - events[-1][-1][0] < max(double_click_ps, 1):
            events[-1].append(click)
        else:
            events.append([click])
    return events


def judged(events: list[list[Click]], draws: list[bytes]) -> tuple[list[int], list[int], list[int], int]:
    """(times, bases, bits, multiple clicks): one detector says it; several leave it to the drawn bits."""
    fired = [{channel for _, channel in event} for event in events]
    multiple = [i for i, detectors in enumerate(fired) if len(detectors) > 1]
    across = [i for i in multiple if len({d >> 1 for d in fired[i]}) == 2]
    basis = [min(d) >> 1 for d in fired]
    bit = [min(d) & 1 for d in fired]
    for i, value in zip(multiple, to_bits(draws[0], len(multiple)), strict=True):
        bit[i] = value
    for i, value in zip(across, to_bits(draws[1], len(across)), strict=True):
        basis[i] = value
    return [event[0][0] for event in events], basis, bit, len(multiple)


def clicks() -> Json:
    """Single, double and triple clicks; what belongs to one event."""

    def one(text: str, tags: list[Click], *flags: str) -> Json:
        events = grouped(tags, 2000)
        several = [{c for _, c in e} for e in events if len({c for _, c in e}) > 1]
        across = [d for d in several if len({c >> 1 for c in d}) == 2]
        sizes = (len(several), len(across)) if events else ()
        draws = [fixed_bytes(f"clicks/{text}", i + 1, (size + 7) // 8) for i, size in enumerate(sizes)]
        inputs = {"tPs": [t for t, _ in tags], "channel": [c for _, c in tags], "draws": [d.hex() for d in draws]}
        t_ps, basis, bit, doubles = judged(events, draws) if events else ([], [], [], 0)
        expected = {"tPs": t_ps, "basis": bits(basis), "bit": bits(bit), "doubleClicks": doubles}
        return case(text, inputs, expected, flags=flags)

    far = 10_000
    tests = [
        one("no click", []),
        one("each detector once", [(far * i, i) for i in range(4)]),
        one("the same detector twice within the time", [(0, 1), (500, 1), (far, 2)], "SameDetector"),
        one("both detectors of Z", [(0, 0), (0, 1), (far, 3)], "WithinBasis"),
        one("both detectors of X", [(0, 2), (1999, 3), (far, 3)], "WithinBasis"),
        one("one detector of each basis", [(0, 0), (100, 3), (far, 1)], "AcrossBases"),
        one("all four", [(0, 0), (0, 1), (0, 2), (0, 3)], "AcrossBases"),
        one("exactly the time apart: two events", [(0, 0), (2000, 1)], "Edge"),
        one("1 ps less: one event", [(0, 0), (1999, 1)], "Edge", "WithinBasis"),
        one(
            "a chain longer than the time is one event", [(0, 0), (1500, 1), (3000, 0), (far, 2)], "Edge", "WithinBasis"
        ),
        one(
            "ten double clicks draw two bytes of bits, five of them one byte of bases",
            [(far * i + j, ((0, 3), (2, 3))[i % 2][j]) for i in range(10) for j in range(2)],
            "WithinBasis",
            "AcrossBases",
        ),
        case(
            "a detector that a two-basis analyser does not have",
            {"tPs": [0], "channel": [4], "draws": []},
            flags=["OutOfRange"],
            result="ParameterError",
        ),
    ]
    notes = {
        "SameDetector": Flag("EDGE_CASE", "Afterpulse or chain of one detector.", "One event, and no double click."),
        "WithinBasis": Flag("BASIC", "Two detectors of one basis.", "A random bit; discarding would help Eve."),
        "AcrossBases": Flag("BASIC", "Detectors of both bases.", "A random basis and a random bit (squashing)."),
        "Edge": Flag(
            "EDGE_CASE", "Clicks at the edge of the time.", "Both ends must group alike from version to version."
        ),
        "OutOfRange": Flag("MALFORMED", "Detector 4.", "It has neither basis nor bit."),
    }
    return document(
        "QKD-CLICKS",
        "clicks.v1.schema.json",
        SOURCE,
        """Rule of qkd/station.py: detectors 0 = H, 1 = V, 2 = D, 3 = A; basis = detector >> 1, bit = detector & 1. A click
        less than doubleClickPs after the one before belongs to its event, whose time is its first click. An event of
        several detectors gets a drawn bit, and a drawn basis if they are of both bases. `draws` are the secret bytes:
        first the bits of all such events in order, packed, then the bases of those across; none without events.""",
        notes,
        [group("ClicksTest", tests, parameters={"doubleClickPs": 2000})],
    )


# -------------------------------------------------------------------------------------------------- coincidences

COINCIDENCE_SCHEMA = file_schema(
    "QKD-COINCIDENCE",
    "Coincidences on one clock",
    [
        GroupSchema(
            "CoincidenceTest",
            {"aPs": array(INTEGER), "bPs": array(INTEGER)},
            {"indexA": array(NATURAL), "indexB": array(NATURAL), "ambiguous": NATURAL},
            parameters={"windowPs": INTEGER},
            errors=("ParameterError",),
        )
    ],
)


def pairs(a_ps: list[int], b_ps: list[int], window_ps: int) -> list[tuple[int, int]]:
    """Going up in b: the earliest unused a within half the window, none before one already used."""
    found: list[tuple[int, int]] = []
    first = 0
    for j, b in enumerate(b_ps):
        near = [i for i in range(first, len(a_ps)) if abs(b - a_ps[i]) <= window_ps // 2]
        if near:
            found.append((near[0], j))
            first = near[0] + 1
    return found


def _ambiguous(a_ps: list[int], b_ps: list[int], window_ps: int, found: list[tuple[int, int]]) -> int:
    half = window_ps // 2

    def rivals(i: int, j: int) -> bool:
        near_a = [k for k in (i - 1, i + 1) if 0 <= k < len(a_ps) and abs(b_ps[j] - a_ps[k]) <= half]
        near_b = [k for k in (j - 1, j + 1) if 0 <= k < len(b_ps) and abs(b_ps[k] - a_ps[i]) <= half]
        return bool(near_a or near_b)

    return sum(rivals(i, j) for i, j in found)


def coincidences() -> Json:
    """Window edges, rivals, equal times."""
    odd, even = 1001, 1000

    def one(text: str, a: list[int], b: list[int], window: int, *flags: str) -> Json:
        found = pairs(a, b, window)
        expected = {
            "indexA": [i for i, _ in found],
            "indexB": [j for _, j in found],
            "ambiguous": _ambiguous(a, b, window, found),
        }
        return case(text, {"aPs": a, "bPs": b}, expected, flags=flags)

    def edges(window: int) -> list[Json]:
        a = [10_000 * i for i in range(6)]
        shifts = (0, 500, 501, -500, -501, 499)
        b = [t + s for t, s in zip(a, shifts, strict=True)]
        return [one(f"delays {', '.join(map(str, shifts))} ps", a, b, window, "Edge")]

    noise = sorted(int.from_bytes(fixed_bytes("coincidences", i + 1, 2), "big") for i in range(60))
    crowded = [
        one("nothing on one side", [], [1, 2], odd),
        one("one b, two a in reach: the earlier", [0, 100], [90], odd, "Rival"),
        one("two b, one a", [50], [0, 100], odd, "Rival"),
        one("equal times on both sides", [7, 7, 7], [7, 7], odd, "Rival"),
        one("a chain in which nearest-first would lose a pair", [0, 600], [400, 1000], odd, "Rival"),
        one("sixty random times against the other sixty", noise[::2], noise[1::2], odd, "Rival"),
        one("large times", [(1 << 62) - 5], [(1 << 62) + 400], odd),
    ]
    bad = [
        case(text, {"aPs": a, "bPs": b}, flags=["Unordered"], result="ParameterError")
        for text, a, b in (("a runs backwards", [5, 3], [4]), ("b runs backwards", [5], [6, 4]))
    ]
    no_window = [case("no window", {"aPs": [1], "bPs": [1]}, flags=["NoWindow"], result="ParameterError")]
    notes = {
        "Edge": Flag("EDGE_CASE", "Delays at the window's edges.", "The classic mistake: half width taken for full."),
        "Rival": Flag("EDGE_CASE", "Several partners in reach.", "Alice and any second matcher must choose alike."),
        "Unordered": Flag("MALFORMED", "Times that do not ascend.", "A merge would silently miss pairs."),
        "NoWindow": Flag("MALFORMED", "A window below 1 ps.", "Nothing can coincide."),
    }
    return document(
        "QKD-COINCIDENCE",
        "coincidence.v1.schema.json",
        SOURCE,
        """Rule of distribution/coincidence.py: windowPs is the FULL width; events coincide when they are at most
        floor(windowPs / 2) apart; going up in time the earliest unused events that coincide are paired. A pair is
        ambiguous when either event coincides with a neighbour of its partner as well.""",
        notes,
        [
            group("CoincidenceTest", edges(odd) + crowded + bad, parameters={"windowPs": odd}),
            group("CoincidenceTest", edges(even), parameters={"windowPs": even}),
            group("CoincidenceTest", no_window, parameters={"windowPs": 0}),
        ],
    )


# -------------------------------------------------------------------------------------------------------- sifting

_SESSION: Json = {
    "state": {"enum": ["phi+", "phi-", "psi+", "psi-"]},
    "windowPs": NATURAL,
    "binPs": NATURAL,
    "doubleClickPs": NATURAL,
    "epochS": NUMBER,
    "clockOffsetPs": INTEGER,
}
SIFTING_SCHEMA = file_schema(
    "QKD-SIFTING",
    "Sifting",
    [
        GroupSchema(
            "SiftingTest",
            {"alice": TAGS, "bob": TAGS},
            {"basis": BITS, "aliceBits": BITS, "bobBits": BITS, "coincidences": NATURAL},
            parameters=_SESSION,
            intermediate={"messages": array(HEX)},
        ),
        GroupSchema(
            "SiftingHostileTest",
            {"role": {"enum": ["alice", "bob"]}, "tags": TAGS, "received": array(HEX)},
            {},
            parameters=_SESSION,
            errors=("RemoteProtocolError",),
        ),
    ],
)
EPOCH_PS = 1_000_000_000
MARGIN_PS = 1_000_000


@dataclass(frozen=True)
class Session:
    """Parameters of a group."""

    state: str = "phi+"
    window_ps: int = 1001
    bin_ps: int = 125
    clock_offset_ps: int = 250_000_000_000

    def json(self) -> Json:
        return {
            "state": self.state,
            "windowPs": self.window_ps,
            "binPs": self.bin_ps,
            "doubleClickPs": 2000,
            "epochS": EPOCH_PS / 1e12,
            "clockOffsetPs": self.clock_offset_ps,
        }

    def inverts(self, basis: int) -> bool:
        """Z bits differ in the Psi states, X bits in the minus states."""
        return self.state.startswith("psi") if basis == 0 else self.state.endswith("-")


def detections(clicks: list[Click], bin_ps: int, ended: bool) -> dict[str, object]:
    """Bob's announcement of single clicks."""
    bins = [t // bin_ps for t, _ in clicks]
    start = bins[0] if bins else 0
    width, deltas = pack_ascending([b - start for b in bins])
    return {
        "type": "Detections",
        "start_bin": start,
        "bin_ps": bin_ps,
        "count": len(clicks),
        "width": width,
        "deltas": deltas,
        "ended": ended,
    }


def kept(index: list[int], ended: bool) -> dict[str, object]:
    """Alice's answer."""
    width, deltas = pack_ascending(index)
    return {"type": "Kept", "count": len(index), "width": width, "deltas": deltas, "ended": ended}


def bases(clicks: list[Click]) -> dict[str, object]:
    """What a station says at the end of the block."""
    return {"type": "Bases", "bits": pack([c >> 1 for _, c in clicks])}


def sift(alice: list[Click], bob: list[Click], session: Session) -> tuple[list[dict[str, object]], Json]:
    """The whole conversation about single clicks (none nearer than doubleClickPs), and what both keep."""
    a_ps = [t for t, _ in alice]
    seen = [t // session.bin_ps * session.bin_ps + session.bin_ps // 2 - session.clock_offset_ps for t, _ in bob]
    matched = pairs(a_ps, seen, session.window_ps)
    said: list[dict[str, object]] = []
    used: list[tuple[int, int]] = []
    done = 0
    edge = bob[0][0]
    while True:
        edge += EPOCH_PS
        # An event is announced once no further click can join it; at the end of the tags, all are.
        bob_ended = bob[-1][0] < edge
        stop = len(bob) if bob_ended else sum(t <= edge - 2000 for t, _ in bob)
        ended = bob_ended or (stop > 0 and a_ps[-1] < seen[stop - 1] + MARGIN_PS)
        mine = [(i, j) for i, j in matched if done <= j < stop]
        said += [detections(bob[done:stop], session.bin_ps, bob_ended), kept([j - done for _, j in mine], ended)]
        used += mine
        done = stop
        if ended:
            break
    said += [bases([bob[j] for _, j in used]), bases([alice[i] for i, _ in used])]
    same = [(i, j) for i, j in used if alice[i][1] >> 1 == bob[j][1] >> 1]
    return said, {
        "basis": bits([alice[i][1] >> 1 for i, _ in same]),
        "aliceBits": bits([alice[i][1] & 1 for i, _ in same]),
        "bobBits": bits([bob[j][1] & 1 ^ session.inverts(bob[j][1] >> 1) for _, j in same]),
        "coincidences": len(used),
    }


def _pair_stream(label: str, count: int, session: Session, *, span_ps: int) -> tuple[list[Click], list[Click]]:
    """Pairs at even spacing with drawn detectors, some lost, Bob's shifted by the clock and up to 300 ps of jitter."""
    draw = fixed_bytes(label, 1, 8 * count)
    alice, bob = [], []
    for n in range(count):
        a, b, lost, *jitter = draw[8 * n : 8 * n + 5]
        t = 5_000_000 + n * (span_ps // count) + 1000 * (b >> 2)
        if lost % 8:
            alice.append((t, a & 3))
        if lost // 8 % 8:
            bob.append((t + session.clock_offset_ps + int.from_bytes(bytes(jitter), "big") % 600 - 300, b & 3))
    return alice, bob


def _tags(clicks: list[Click]) -> Json:
    return {"tPs": [t for t, _ in clicks], "channel": [c for _, c in clicks]}


def block() -> Json:
    """Both roles from tags to bits, and messages that no honest peer sends."""

    def one(text: str, alice: list[Click], bob: list[Click], session: Session, *flags: str) -> Json:
        said, expected = sift(alice, bob, session)
        messages = [message_pack(m).hex() for m in said]
        inputs = {"alice": _tags(alice), "bob": _tags(bob)}
        return case(text, inputs, expected, flags=flags, intermediate={"messages": messages})

    plain = Session()
    offset = plain.clock_offset_ps
    end = [(10_000_000, 0)]
    clear = [(10_000 * (i + 1), i % 4) for i in range(16)]
    combos = [(t + offset, i // 4) for i, (t, _) in enumerate(clear)]
    long_alice, long_bob = _pair_stream("sifting/epochs", 60, plain, span_ps=3 * EPOCH_PS)
    tests = [
        one("every pair of detectors once", clear + end, combos, plain),
        one("no coincidence", [(10_000, 0), *end], [(10_000 + offset + 5000, 0)], plain, "NothingKept"),
        one(
            "coarsening to 125 ps moves a delay out of the window",
            [(10_000, 0), *end],
            [(10_500 + offset, 0)],
            plain,
            "Edge",
        ),
        one("sixty pairs over three epochs", [*long_alice, (4 * EPOCH_PS, 0)], long_bob, plain, "Epochs"),
        one("Alice's tagger ends first", long_alice[:20], long_bob, plain, "Epochs", "Ended"),
    ]
    groups = [group("SiftingTest", tests, parameters=plain.json())]
    for state in ("phi-", "psi+", "psi-"):
        session = Session(state)
        tests = [one(f"every pair of detectors once, {state}", clear + end, combos, session, "Inverted")]
        groups.append(group("SiftingTest", tests, parameters=session.json()))
    groups.append(
        group("SiftingHostileTest", _hostile_to_bob(plain) + _hostile_to_alice(plain), parameters=plain.json())
    )
    notes = {
        "NothingKept": Flag("EDGE_CASE", "An empty Kept.", "The conversation goes on all the same."),
        "Edge": Flag("EDGE_CASE", "Alice sees centres of Bob's bins.", "Both must mean the same time by a bin."),
        "Epochs": Flag("BASIC", "More than one epoch.", "No event may be used in two of them, none forgotten."),
        "Ended": Flag("EDGE_CASE", "A tagger ends before the other.", "Both must stop in the same epoch."),
        "Inverted": Flag("BASIC", "Bob inverts where the Bell state anticorrelates.", "An error rate of one."),
        "Hostile": Flag("MALFORMED", "What no honest peer sends.", "Drop the line."),
    }
    return document(
        "QKD-SIFTING",
        "sifting.v1.schema.json",
        SOURCE,
        """Rules of qkd/sifting.py on a clock that is given: Bob's shows clockOffsetPs more than Alice's, no drift. Bob
        announces, epoch by epoch from his first tag on, the events that no further click can join (in the last epoch
        all), as time bins of binPs. Alice takes the centre of a bin (floor(binPs / 2)) for the time, matches within
        windowPs and answers with the indices, in that epoch, of the coincidences. A role has ended when its tagger has no
        more; either ends the block. Then both tell, Bob first, their bases of all coincidences; those of equal basis are
        sifted. `basis` and bits are of these in order; Bob's are inverted where `state` anticorrelates. No event here is a multiple click. In hostile tests one role with its
        tags meets `received`, message by message.""",
        notes,
        groups,
    )


def _hostile_to_bob(session: Session) -> list[Json]:
    tags = [(10_000 * i + session.clock_offset_ps, i % 4) for i in range(1, 9)]

    def one(text: str, *received: dict[str, object]) -> Json:
        inputs = {"role": "bob", "tags": _tags(tags), "received": [message_pack(r).hex() for r in received]}
        return case(f"to Bob: {text}", inputs, flags=["Hostile"], result="RemoteProtocolError")

    good = kept([0, 3, 5], True)
    more: dict[str, object] = {"type": "MoreDetections"}
    return [
        one("keeps an event twice", {**good, "width": 2, "deltas": rice([1, 1, 5], 2)}),
        one("keeps one event more than there are", {**good, "deltas": rice([0, 3, 8], 2), "width": 2}),
        one("announces more than it sends", {**good, "count": 9}),
        one("announces fewer than it sends", {**good, "count": 1, "width": 2, "deltas": rice([0, 3, 5], 2) + b"\x00"}),
        one("a negative count", {**good, "count": -1}),
        one("a width of 40", {**good, "width": 40}),
        one("wants more after the last", more),
        one("bases of one event too many", good, {"type": "Bases", "bits": b"\x10"}),
        one("bases before the block is full", bases(tags)),
        one("another kind of message", {"type": "CascadeStart", "seed": bytes(32)}),
        one("Bob's own kind of message", detections(tags, session.bin_ps, True)),
    ]


def _hostile_to_alice(session: Session) -> list[Json]:
    tags = [(10_000 * i, i % 4) for i in range(1, 9)] + [(20_000_000_000, 0)]
    bob = [(t + session.clock_offset_ps, c) for t, c in tags[:8]]
    good = detections(bob, session.bin_ps, False)
    seven = detections(bob[:7], session.bin_ps, False)

    def one(text: str, *received: dict[str, object]) -> Json:
        inputs = {"role": "alice", "tags": _tags(tags), "received": [message_pack(r).hex() for r in received]}
        return case(f"to Alice: {text}", inputs, flags=["Hostile"], result="RemoteProtocolError")

    return [
        one("bins of another width than agreed", {**good, "bin_ps": 250}),
        one("bins of no width", {**good, "bin_ps": 0}),
        one("times beyond any clock", {**good, "start_bin": 1 << 62}),
        one("times before any clock", {**good, "start_bin": -(1 << 62)}),
        one("bases before the block is full", bases(bob)),
        one("bases of one event too few", {**good, "ended": True}, {"type": "Bases", "bits": b""}),
        one("padding bits of the bases set", {**seven, "ended": True}, {"type": "Bases", "bits": b"\xff"}),
        one("more events than the differences hold", {**good, "count": 100}),
        one("the same epoch again", good, good),
        one("an epoch before the last", good, detections([(t - 5_000_000, c) for t, c in bob], session.bin_ps, False)),
        one("Alice's own kind of message", kept([0], False)),
    ]


# --------------------------------------------------------------------------------------------------------- sample

_STRINGS = obj({"z": BITS, "x": BITS})
SAMPLE_SCHEMA = file_schema(
    "QKD-SAMPLE",
    "The public sample",
    [
        GroupSchema(
            "SampleTest",
            {"alice": _STRINGS, "bob": _STRINGS},
            {
                **dict.fromkeys(("sampleZ", "sampleX", "errorsZ", "errorsX"), NATURAL),
                "alice": _STRINGS,
                "bob": _STRINGS,
            },
            parameters={"sampleFraction": NUMBER, "qberLimit": NUMBER},
            randomness={"seed": HEX},
            intermediate={"messages": array(HEX)},
            errors=("QberTooHigh", "KeyTooShort"),
        )
    ],
)


def sample() -> Json:
    """A block's sample at both ends; too many errors, too few bits."""
    seed = fixed_bytes("sample", 1, 32)
    limit = 0.11
    sizes = {"a block of 1040 bits": (520, 520), "unequal bases": (1000, 200), "a basis of five bits": (1100, 5)}
    groups = []
    for fraction, texts in ((0.01, list(sizes)), (0.4, ["unequal bases"])):
        tests = [_sampled(f"{t}, 3 % errors", *sizes[t], 33, fraction, limit, seed) for t in texts]
        if fraction == 0.01:
            tests += [
                _sampled("no error", 600, 600, 0, fraction, limit, seed),
                _sampled("every other bit wrong", 600, 600, 2, fraction, limit, seed, "TooManyErrors"),
                _sampled("fewer bits than the least block", 500, 499, 33, fraction, limit, seed, "TooFewBits"),
                _sampled("three bits in X", 1200, 3, 33, fraction, limit, seed, "TooFewBits"),
            ]
        parameters = {"sampleFraction": fraction, "qberLimit": limit}
        groups.append(group("SampleTest", tests, parameters=parameters, randomness={"seed": seed.hex()}))
    notes = {
        "TooManyErrors": Flag("BASIC", "The sample is three sigma above the limit.", "Stop before more is disclosed."),
        "TooFewBits": Flag("EDGE_CASE", "Fewer than 1000 bits, or than 4 of a basis.", "No estimate, no key."),
    }
    return document(
        "QKD-SAMPLE",
        "sample.v1.schema.json",
        SOURCE,
        """Rule of qkd/estimation.py: of the n bits of a basis, s = max(ceil(sampleFraction n), min(floor(n / 4), 200)) are
        shown and leave the key: positions are the last s entries of the permutation of n labelled "sample/z" or
        "sample/x" under the seed (see expansion), ascending. `alice` and `bob` under `expected` are the bits that remain.
        A sample error rate above the limit q by three standard deviations sqrt(q (1 - q) / s) ends the block,
        and so do fewer than 1000 bits in all or 4 in a basis.""",
        notes,
        groups,
    )


def _sampled(
    text: str, n_z: int, n_x: int, every: int, fraction: float, limit: float, seed: bytes, *flags: str
) -> Json:
    sizes = {"z": n_z, "x": n_x}
    alice = {name: expand_bits(seed, f"bits/{name}/{n}", n) for name, n in sizes.items()}
    bob = {name: [b ^ (every > 0 and i % every == 0) for i, b in enumerate(text)] for name, text in alice.items()}
    inputs = {who: {name: bits(s) for name, s in strings.items()} for who, strings in (("alice", alice), ("bob", bob))}
    if n_z + n_x < 1000 or min(n_z, n_x) < 4:
        return case(text, inputs, flags=flags, result="KeyTooShort")
    shown = {}
    for name, n in sizes.items():
        size = max(math.ceil(fraction * n), min(n // 4, 200))
        shown[name] = sorted(expand_permutation(seed, f"sample/{name}", n)[0][n - size :])
    errors = {name: sum(alice[name][i] != bob[name][i] for i in shown[name]) for name in "zx"}
    for name in "zx":
        size = len(shown[name])
        if errors[name] / size > limit + 3 * math.sqrt(limit * (1 - limit) / size):
            return case(text, inputs, flags=flags, result="QberTooHigh")
    told = [{f"bits_{name}": pack([who[name][i] for i in shown[name]]) for name in "zx"} for who in (alice, bob)]
    said = [{"type": "SampleRequest", "seed": seed, **told[0]}, {"type": "SampleAnswer", **told[1]}]
    expected: Json = {"sampleZ": len(shown["z"]), "sampleX": len(shown["x"])}
    expected |= {"errorsZ": errors["z"], "errorsX": errors["x"]}
    for who, strings in (("alice", alice), ("bob", bob)):
        rest = {name: [b for i, b in enumerate(strings[name]) if i not in shown[name]] for name in "zx"}
        expected[who] = {name: bits(rest[name]) for name in "zx"}
    messages = [message_pack(m).hex() for m in said]
    return case(text, inputs, expected, flags=flags, intermediate={"messages": messages})
