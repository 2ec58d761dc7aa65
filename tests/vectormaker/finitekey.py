"""Vectors of the key length: whole numbers of subsets where those are small enough, 60 digits elsewhere."""

from __future__ import annotations

from functools import cache

import mpmath as mp

from tests.reference import finitekey as reference
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
    obj,
)

EXACT_UP_TO = 4000  # bits; above, subsets are no longer counted one by one

_COUNTS: Json = {"keyBits": INTEGER, "testBits": INTEGER, "testErrors": INTEGER}
_BASIS = obj({**_COUNTS, **dict.fromkeys(("leakEcBits", "verifyBits", "leftOutBits"), INTEGER)})
SCHEMA = file_schema(
    "QKD-FINITE-KEY",
    "Finite-key length",
    [
        GroupSchema(
            "PhaseErrorTest",
            _COUNTS,
            {"phaseErrors": NATURAL},
            parameters={"epsSm": NUMBER},
            errors=("ParameterError",),
        ),
        GroupSchema(
            "KeyLengthTest",
            {**_COUNTS, "leakEcBits": INTEGER, "verifyBits": INTEGER, "leftOutBits": INTEGER},
            {"secretBits": NATURAL},
            parameters={"epsSec": NUMBER},
            intermediate={"raw": INTEGER, "phaseErrors": NATURAL, "epsPa": NUMBER},
            optional=("leftOutBits",),
            errors=("ParameterError",),
        ),
        GroupSchema(
            "BothBasesTest",
            {"z": _BASIS, "x": _BASIS},
            {"secretBitsZ": NATURAL, "secretBitsX": NATURAL},
            parameters={"epsSec": NUMBER},
            intermediate=dict.fromkeys(("rawZ", "rawX"), INTEGER) | dict.fromkeys(("epsSecZ", "epsSecX"), NUMBER),
        ),
    ],
)


@cache
def phase_errors(n: int, k: int, errors: int, eps: float) -> int:
    """Least e in 0 .. n that leaves the tail at or below eps^2; asserts that no rounding decides it."""
    if n == 0 or k == 0:
        return n
    with mp.workdps(60):
        target = 2 * mp.log(mp.mpf(eps))

    def below(e: int) -> bool:
        marked = e + 1 + errors
        if marked > n + k:
            return True
        if n + k <= EXACT_UP_TO:
            return bool(reference.tail(errors, n + k, marked, k) <= mp.exp(target))
        if errors * (n + k) >= k * marked:
            return False  # at or above the mean: a tail of about a half
        tail = reference.ln_tail_large(errors, n + k, marked, k)
        assert abs(tail - target) > 1e-7, "the tail lies within the product's margin: choose other counts"
        return bool(tail <= target)

    # The tail falls as e grows, so halving finds what trying all would.
    low, high = -1, n
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if below(middle) else (middle, high)
    return high


def raw_length(n: int, e: int, disclosed: int, eps_pa: float) -> int:
    """The formula; from half the bits on, phase errors leave nothing."""
    if 2 * e < n:
        return reference.key_length(n, e, disclosed, eps_pa)
    with mp.workdps(60):
        return int(mp.floor(-disclosed + 2 * mp.log(2 * mp.mpf(eps_pa), 2)))


def length(n: int, k: int, errors: int, disclosed: int, eps_sec: float, left_out: int = 0) -> tuple[int, int, float]:
    """(length, phase errors, eps_pa) with the split that goes with the string's length."""
    share = reference.pa_share(n + left_out)
    eps_pa = eps_sec * share
    e = phase_errors(n + left_out, k, errors, eps_sec * (1.0 - share) / 2.0)
    return raw_length(n, e, disclosed, eps_pa), e, eps_pa


def exact() -> Json:
    """Bounds and lengths from a handful of bits to hundreds of thousands."""
    notes = {
        "NoTest": Flag(
            "EDGE_CASE", "Nothing was tested, or nothing is to be kept.", "No bound: every bit may be wrong."
        ),
        "NoKey": Flag("EDGE_CASE", "The formula is zero or negative.", "No key; raw says by how much it fell short."),
        "Contradiction": Flag("MALFORMED", "Counts that cannot be.", "A length from impossible counts is worthless."),
        "LeftOut": Flag(
            "AUTH_BYPASS", "Bits were taken out by their errors.", "Phase errors may all stand in what is kept."
        ),
        "Range": Flag("MALFORMED", "A failure probability out of range.", "Numbers would overflow or mean nothing."),
    }
    return document(
        "QKD-FINITE-KEY",
        "finite-key.v1.schema.json",
        Source(
            "tests/reference/finitekey.py (integers and mpmath, 60 digits)",
            "1",
            "Tomamichel and Leverrier, Quantum 1:14 (2017), Theorem 3, with the exact hypergeometric tail"
            " (Mannalath, Zapatero, Curty, arXiv 2410.04095)",
        ),
        """phaseErrors is the least e such that, among keyBits + testBits positions of which e + 1 + testErrors are
        marked, testBits drawn without return show at most testErrors marked ones with probability at most epsSm^2; at
        most keyBits. Where leftOutBits bits were corrected with the key bits and are not kept, phaseErrors is that of keyBits
        + leftOutBits, and all of it counts against keyBits. raw is floor(keyBits - log2 sum_{i <= e} C(keyBits, i) - leakEcBits - verifyBits + 2 log2(2
        epsPa)), where from 2 e >= keyBits on the sum is taken as 2^keyBits; epsPa is epsSec / 2^j, j = floor((d - 4) / 2)
        but 1 at least and 12 at most, d the binary digits of keyBits + leftOutBits; epsSm = (epsSec - epsPa) / 2. No case
        here lies so near a rounding that double precision could decide otherwise. Of both bases, Z gets the part n_Z /
        (n_Z + n_X) of epsSec, but 1/64 at least and 63/64 at most, and X gets 1 less that part (binary64), where n is
        keyBits + leftOutBits; the testBits of either are of the other basis.""",
        notes,
        [
            group("PhaseErrorTest", _bounds(1e-10), parameters={"epsSm": 1e-10}),
            group("PhaseErrorTest", _bounds(1e-3), parameters={"epsSm": 1e-3}),
            group("PhaseErrorTest", _out_of_range(), parameters={"epsSm": 0.0}),
            group("KeyLengthTest", _lengths(1e-10), parameters={"epsSec": 1e-10}),
            group("KeyLengthTest", _lengths(1e-6), parameters={"epsSec": 1e-6}),
            group("KeyLengthTest", _impossible(), parameters={"epsSec": 1e-10}),
            group("BothBasesTest", _both(1e-10), parameters={"epsSec": 1e-10}),
        ],
    )


def _bounds(eps: float) -> list[Json]:
    counts = [(1, 1, 0), (10, 10, 0), (1000, 1000, 20), (1500, 500, 0), (500, 1500, 45), (1000, 1000, 500)]
    counts += [(10_000, 10_000, 250), (100_000, 50_000, 1500), (1_000_000, 1_000_000, 25_000)]

    def one(n: int, k: int, errors: int, *flags: str) -> Json:
        inputs = {"keyBits": n, "testBits": k, "testErrors": errors}
        e = phase_errors(n, k, errors, eps)
        return case(f"{errors} errors in {k}, {n} kept", inputs, {"phaseErrors": e}, flags=flags)

    return [*(one(*count) for count in counts), one(0, 100, 3, "NoTest"), one(100, 0, 0, "NoTest")]


def _out_of_range() -> list[Json]:
    inputs = {"keyBits": 10, "testBits": 10, "testErrors": 0}
    return [case("a bound that never fails", inputs, flags=["Range"], result="ParameterError")]


def _lengths(eps: float) -> list[Json]:
    counts = [
        (500, 500, 5, 60, 64),
        (1500, 1500, 20, 190, 64),
        (2000, 1900, 0, 40, 64),
        (10_000, 10_000, 250, 2000, 64),
    ]
    counts += [(100_000, 100_000, 2500, 20_100, 64), (300_000, 200_000, 2000, 24_700, 64), (1500, 1500, 300, 1100, 64)]
    counts += [
        (200_000, 9000, 225, 40_100, 64),
        (9000, 200_000, 5000, 1900, 64),
        (511, 600, 6, 60, 64),
        (512, 600, 6, 60, 64),
    ]

    def one(n: int, k: int, errors: int, leak: int, verify: int, left_out: int = 0) -> Json:
        inputs = {"keyBits": n, "testBits": k, "testErrors": errors, "leakEcBits": leak, "verifyBits": verify}
        raw, e, eps_pa = length(n, k, errors, leak + verify, eps, left_out)
        text = f"{n} bits, {errors} errors in {k} tested, {leak + verify} disclosed"
        flags = ["NoKey"] if raw <= 0 else []
        if left_out:
            inputs["leftOutBits"] = left_out
            text += f", {left_out} left out"
            flags.append("LeftOut")
        intermediate = {"raw": raw, "phaseErrors": e, "epsPa": eps_pa}
        return case(text, inputs, {"secretBits": max(0, raw)}, flags=flags, intermediate=intermediate)

    left_out = [(10_000, 10_003, 253, 2000, 64, 1), (8000, 10_000, 250, 1600, 64, 2000), (400, 2000, 20, 60, 64, 1600)]
    return [one(*count) for count in counts + left_out]


def _both(eps: float) -> list[Json]:
    """Equal bases, unequal ones, and one so short that its part of eps is the least."""

    def one(text: str, n_z: int, n_x: int, wrong_z: int, wrong_x: int, left_out: int, *flags: str) -> Json:
        inputs: Json = {}
        found = {}
        parts = dict(zip("zx", reference.split_over_bases(n_z, n_x, eps), strict=True))
        for name, own, tested, errors in (("z", n_z, n_x, wrong_x), ("x", n_x, n_z, wrong_z)):
            out = left_out if name == "z" else 0
            leak = own // 5
            found[name] = length(own - out, tested, errors, leak + 64, parts[name], out)
            counts = (own - out, tested, errors, leak, 64, out)
            names = ("keyBits", "testBits", "testErrors", "leakEcBits", "verifyBits", "leftOutBits")
            inputs[name] = dict(zip(names, counts, strict=True))
        expected = {f"secretBits{name.upper()}": max(0, found[name][0]) for name in "zx"}
        intermediate = {f"raw{name.upper()}": found[name][0] for name in "zx"}
        intermediate |= {f"epsSec{name.upper()}": parts[name] for name in "zx"}
        return case(text, inputs, expected, flags=flags, intermediate=intermediate)

    return [
        one("equal bases", 20_000, 20_000, 480, 510, 0),
        one("X a tenth of Z", 200_000, 20_000, 4800, 510, 0),
        one("bits of Z left out", 30_000, 24_000, 710, 580, 4000, "LeftOut"),
        one("X so short that it gets a 64th and no key", 150_000, 900, 3000, 18, 0, "NoKey"),
        one("Z so short that it gets a 64th and no key", 900, 150_000, 18, 3000, 0, "NoKey"),
    ]


def _impossible() -> list[Json]:
    def one(text: str, *counts: int) -> Json:
        names = ("keyBits", "testBits", "testErrors", "leakEcBits", "verifyBits", "leftOutBits")
        inputs = dict(zip(names, counts, strict=False))
        return case(text, inputs, flags=["Contradiction"], result="ParameterError")

    return [
        one("more errors than tested bits", 1000, 100, 101, 0, 0),
        one("negative errors", 1000, 100, -1, 0, 0),
        one("a negative number of key bits", -1, 100, 1, 0, 0),
        one("a negative number of tested bits", 1000, -1, 0, 0, 0),
        one("a negative leak would lengthen the key", 1000, 1000, 10, -500, 64),
        one("negative verification bits", 1000, 1000, 10, 100, -64),
        one("a negative number of bits left out", 1000, 1000, 10, 100, 64, -1),
        one("a block beyond 10^10", 10**10 + 1, 1000, 10, 100, 64),
    ]
