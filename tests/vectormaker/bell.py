"""Vectors of the bound on phase errors from tested settings: 40 digits, one design at a time."""

from __future__ import annotations

import mpmath as mp

from tests.reference import bellkey as reference
from tests.vectormaker.frame import (
    INTEGER,
    NATURAL,
    NUMBER,
    Flag,
    GroupSchema,
    Json,
    Source,
    case,
    document,
    file_schema,
    group,
)

# The designs of qkd/bellkey.py, written out: a change there must show here.
DESIGNS = [(2.0 ** (-j / 2.0), v) for j in range(2, 25) for v in (1.0, 0.96, 0.9)]
_NAMES = ("key", "plusEqual", "plusDifferent", "minusEqual", "minusDifferent", "across")
SCHEMA = file_schema(
    "QKD-BELL-KEY",
    "Phase errors of a key from counts at tested settings",
    [
        GroupSchema(
            "BellPhaseErrorTest",
            dict.fromkeys(_NAMES, INTEGER),
            {"phaseErrors": NATURAL},
            parameters={"epsSm": NUMBER, "pairs": NATURAL},
            errors=("ParameterError",),
        ),
    ],
)


def bounds() -> Json:
    """Bounds from a few hundred key bits to millions, without and with events across settings."""
    notes = {
        "Across": Flag(
            "AUTH_BYPASS", "Events across settings were seen.", "Events of several photons hide behind them."
        ),
        "NoKey": Flag("EDGE_CASE", "The tested pairs show no correlation, or the wrong one.", "No phase is right."),
        "Uneven": Flag("EDGE_CASE", "Far more key rounds than tested ones.", "The plain reading is the least bound."),
        "Contradiction": Flag("MALFORMED", "Counts that cannot be.", "A length from impossible counts is worthless."),
    }
    return document(
        "QKD-BELL-KEY",
        "bell-key.v1.schema.json",
        Source(
            "tests/reference/bellkey.py (mpmath, 40 digits)",
            "1",
            "Ville, Etude critique de la notion de collectif (1939), on the weights of qkd/bellkey.py",
        ),
        """Let h = 1/sqrt 2, k = c (1 + sqrt 2)/(8 pairs), L = -2 ln epsSm + ln 69. For each of the 69 designs (c, v), c =
        2^(-j/2) for j = 2 .. 24 and v = 1, 0.96, 0.9, put a = 1 + c v, b = 1 - c v/2, and let T be (plusEqual +
        minusDifferent) ln(b + c h) + (plusDifferent + minusEqual) ln(b - c h) + across ln(1 - k/min(a - c, b - c h, 1)).
        The design's bound is floor((L - T - key ln(a - c))/(ln(a + c) - ln(a - c))), at least 0. phaseErrors is the
        least of these bounds, but not less than the reading ceil(key (1 - h (E_plus - E_minus))/2), where E = (equal -
        different)/(equal + different) or 0 without counts; and at most key. No case here lies so near a rounding that
        double precision could decide otherwise.""",
        notes,
        [
            group("BellPhaseErrorTest", _cases(1e-10, 9), parameters={"epsSm": 1e-10, "pairs": 9}),
            group("BellPhaseErrorTest", _cases(1e-4, 6), parameters={"epsSm": 1e-4, "pairs": 6}),
            group("BellPhaseErrorTest", _impossible(), parameters={"epsSm": 1e-10, "pairs": 9}),
        ],
    )


def phase_errors(counts: tuple[int, ...], pairs: int, eps: float) -> int:
    """The bound; asserts that no rounding decides it."""
    key, *tested, across = counts
    found = {
        reference.bound(DESIGNS, pairs, key, (tested[0], tested[1], tested[2], tested[3]), across, eps * factor)
        for factor in (1 - 1e-6, 1, 1 + 1e-6)
    }
    assert len(found) == 1, "the bound lies within the product's margin: choose other counts"

    def e(equal: int, different: int) -> mp.mpf:
        return mp.mpf(equal - different) / max(1, equal + different)

    with mp.workdps(40):
        exact = key * (1 - (e(tested[0], tested[1]) - e(tested[2], tested[3])) / mp.sqrt(2)) / 2
        assert abs(exact - mp.nint(exact)) > 1e-9 or key == 0 or tested[0] == tested[1]
        return min(key, max(found.pop(), int(mp.ceil(exact))))


def _cases(eps: float, pairs: int) -> list[Json]:
    def one(counts: tuple[int, ...], *flags: str) -> Json:
        text = f"{counts[0]} key rounds, {sum(counts[1:5])} tested, {counts[5]} across"
        return case(
            text, dict(zip(_NAMES, counts, strict=True)), {"phaseErrors": phase_errors(counts, pairs, eps)}, flags=flags
        )

    return [
        one((300, 253, 44, 47, 255, 0)),
        one((1000, 842, 161, 155, 846, 0)),
        one((10_007, 8401, 1609, 1604, 8411, 0)),
        one((10_007, 8401, 1609, 1604, 8411, 251), "Across"),
        one((100_003, 83_904, 16_101, 16_055, 83_951, 3001), "Across"),
        one((1_000_003, 836_904, 163_101, 162_055, 837_951, 0)),
        one((10_007, 5003, 5003, 5001, 5001, 0), "NoKey"),
        one((10_007, 1609, 8401, 8411, 1604, 0), "NoKey"),
        one((10_007, 42, 8, 9, 41, 0), "Uneven"),
    ]


def _impossible() -> list[Json]:
    good = (100, 80, 20, 20, 80, 3)

    def one(at: int, value: int) -> Json:
        counts = list(good)
        counts[at] = value
        inputs = dict(zip(_NAMES, counts, strict=True))
        return case(f"{_NAMES[at]} is {value}", inputs, flags=["Contradiction"], result="ParameterError")

    return [*(one(at, -1) for at in range(6)), one(0, 10**10 + 1)]
