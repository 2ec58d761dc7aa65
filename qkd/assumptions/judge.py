"""One station's counts and alarms against its limits: a verdict for each assumption.

An effect fails an assumption when it is above its limit *and* so far above that a station at the limit shows it with
less than the chance of `sigma` standard deviations; tails are exact. So "holds" says that nothing was found, with the
counts of this block: an assumption of a short block is checked as sharply as its counts allow.

Efficiencies are judged by the bits of matched pairs, because singles hold dark counts and stray light, which are no
matter of efficiency; a source whose photons prefer one outcome looks the same, and loses its label too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from distribution.monitors.finding import Finding
from distribution.monitors.limits import Limits
from distribution.tails import as_uneven_as, binomial_at_least
from qkd.assumptions.claim import BROKEN_BY, Assumption, How, Verdict
from qkd.assumptions.limits import AssumptionLimits
from qkd.assumptions.tally import Counts, Tally
from qkd.protocols import settings_of
from qkd.session import SessionParameters

_BASES = "ZX"
# Of an analyser that is switched, only events at the moment of switching click in both bases; of an even passive one,
# two in three multiple clicks do.
_BETWEEN_SETTINGS = 0.2


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Seen:
    """All that one station knows of a block.

    Attributes:
        tally: its own counts.
        sifted: shape (4,), int64: its sifted bits at 2 x basis + bit.
        pairs: shape (2, 2), int64: pairs by own basis and the peer's.
        alarms: of its monitors, standing at any time in the block.
        limits, monitor_limits: what it tolerates.
    """

    tally: Tally
    sifted: Counts
    pairs: Counts
    alarms: tuple[Finding, ...]
    limits: AssumptionLimits
    monitor_limits: Limits


def verdicts(seen: Seen, params: SessionParameters) -> tuple[Verdict, ...]:
    """Every assumption that a single station can judge, in the order of `Assumption`."""
    judged = {
        Assumption.DOUBLE_CLICKS_RANDOM: _double_clicks(seen, params),
        Assumption.ONE_DEAD_WINDOW: _dead_window(seen, params),
        Assumption.EVEN_EFFICIENCY: _efficiency(seen),
        **(_even_settings(seen) if settings_of(params.protocol).tested else _bases(seen)),
        Assumption.NO_MEMORY: _memory(seen),
    }
    return tuple(
        _with_alarms(judged.get(a) or _verdict(a, True), seen.alarms)
        for a in Assumption
        if a is not Assumption.SILENT_ANSWERS
    )


def common_failures(
    params: SessionParameters, *, answers_assumed: bool, settings_uneven: bool = False
) -> tuple[Assumption, ...]:
    """What fails of what both stations know alike.

    Args:
        params: of the session.
        answers_assumed: True where the leak model takes Bob's answers to tell nothing though he gives some.
        settings_uneven: True where a protocol wants its settings evenly and their counts refute that.
    """
    failed = {
        Assumption.DOUBLE_CLICKS_RANDOM: params.double_click_ps < params.window_ps,
        Assumption.EVEN_SPLIT: settings_uneven,
        Assumption.SILENT_ANSWERS: answers_assumed,
    }
    return tuple(assumption for assumption, it_did in failed.items() if it_did)


def _verdict(
    assumption: Assumption, holds: bool, measured: float | None = None, limit: float | None = None, detail: str = ""
) -> Verdict:
    shown = measured if measured is None or math.isfinite(measured) else None
    return Verdict(
        assumption=assumption.value, how=assumption.how.value, holds=holds, measured=shown, limit=limit, detail=detail
    )


def _with_alarms(verdict: Verdict, alarms: tuple[Finding, ...]) -> Verdict:
    """The same, failed where an alarm stands that breaks it."""
    standing = [a for a in alarms if BROKEN_BY[a.watch].value == verdict.assumption]
    if not standing:
        return verdict
    worst = max(standing, key=lambda a: a.statistic / a.threshold)
    return Verdict(
        assumption=verdict.assumption,
        how=How.ALARM.value,
        holds=False,
        measured=worst.statistic,
        limit=worst.threshold,
        detail="; ".join(alarm.watch.value for alarm in standing),
    )


def _above(k: int, n: int, share: float, chance: float) -> bool:
    """True if k of n is more than trials of this probability give but by this chance."""
    return n > 0 and k > share * n and binomial_at_least(k, n, share) < chance


def _double_clicks(seen: Seen, params: SessionParameters) -> Verdict:
    tally = seen.tally
    return _verdict(
        Assumption.DOUBLE_CLICKS_RANDOM,
        params.double_click_ps >= params.window_ps,
        float(params.double_click_ps),
        float(params.window_ps),
        f"ps; {tally.multiple} of {int(tally.events.sum())} events were multiple, {tally.across} across bases",
    )


def _dead_window(seen: Seen, params: SessionParameters) -> Verdict:
    """Longer than every dead time, as declared, and as far as equal outcomes right after it are not missing."""
    window_ps = max(params.mute_ps, seen.monitor_limits.station_dead_ps)
    declared_ps = seen.limits.dead_ps
    if not window_ps:
        return _verdict(Assumption.ONE_DEAD_WINDOW, False, 0.0, float(declared_ps), "ps: no detector mutes the others")
    if declared_ps > window_ps:
        return _verdict(
            Assumption.ONE_DEAD_WINDOW,
            False,
            float(window_ps),
            float(declared_ps),
            "ps: the declared dead time is longer",
        )
    return _following(Assumption.ONE_DEAD_WINDOW, seen, -1)


def _memory(seen: Seen) -> Verdict:
    """Equal outcomes in excess, of all neighbours or of those right after the dead window: after-pulses make both."""
    return _following(Assumption.NO_MEMORY, seen, +1)


def _following(assumption: Assumption, seen: Seen, sign: int) -> Verdict:
    """Equal outcomes of neighbours against independent ones: too many (sign 1), or too few (-1)."""
    tally, limits = seen.tally, seen.limits
    near, near_failed = _unequal(seen, tally.near, sign, limits.near_share)
    # The autocorrelation of +-1 outcomes is twice the share of equal ones less that of independent ones, about 1/2.
    every, every_failed = _unequal(seen, tally.every, sign, limits.memory)
    if every_failed and not near_failed:
        return _verdict(assumption, False, sign * every, limits.memory, f"lag-1 autocorrelation, {tally.every.sum()}")
    way = "too many" if sign > 0 else "missing"
    detail = (
        f"of equal outcomes {way} within {tally.near_ps / 1000:g} ns, {tally.near.sum()} neighbours;"
        f" lag-1 autocorrelation {sign * every:.1g}"
    )
    return _verdict(assumption, not near_failed, near, limits.near_share, detail)


def _bases_of(counts: Counts) -> int:
    """Of how many bases these counts by basis and one bit are."""
    return counts.size // 2


def _bases(seen: Seen) -> dict[Assumption, Verdict]:
    return {Assumption.BASIS_INDEPENDENT_LOSS: _loss(seen), Assumption.EVEN_SPLIT: _split(seen)}


def _even_settings(seen: Seen) -> dict[Assumption, Verdict]:
    """With a Bell test each setting has to be as likely; both assumptions show in their shares among pairs.

    No tolerance here: the bound on phase errors (`qkd.bellkey`) takes the settings as exactly even.
    """
    counts = seen.pairs.sum(axis=1)
    expected = counts.sum() / counts.size
    off = float(np.abs(counts / max(expected, 1.0) - 1.0).max()) if counts.any() else 0.0
    holds = as_uneven_as(counts) >= seen.limits.chance
    detail = f"largest deviation of a setting's share from even; pairs {', '.join(map(str, counts))}"
    return {a: _verdict(a, holds, off, 0.0, detail) for a in (Assumption.BASIS_INDEPENDENT_LOSS, Assumption.EVEN_SPLIT)}


def _unequal(seen: Seen, neighbours: Counts, sign: int, limit: float) -> tuple[float, bool]:
    """By what share equal outcomes are in excess (sign 1) or missing (-1) in the worse basis, and if it is too much."""
    worst, failed = 0.0, False
    for basis in range(_bases_of(neighbours)):
        differ, equal = (int(n) for n in neighbours[2 * basis : 2 * basis + 2])
        zero, one = (float(n) for n in seen.tally.events[2 * basis : 2 * basis + 2])
        n, independent = differ + equal, (zero * zero + one * one) / max((zero + one) ** 2, 1.0)
        if not n or not independent:
            continue
        worst = max(worst, sign * (equal / (n * independent) - 1.0))
        edge = min(independent * (1.0 + sign * limit), 1.0)
        more, share = (equal, edge) if sign > 0 else (differ, 1.0 - edge)
        failed |= _above(more, n, share, seen.limits.chance)
    return worst, failed


def _efficiency(seen: Seen) -> Verdict:
    """Of the two detectors of a basis: by their sifted bits, and as declared."""
    limit = seen.limits.efficiency_ratio
    worst, failed, told = 1.0, False, []
    for basis, name in enumerate(_BASES):
        zero, one = (int(n) for n in seen.sifted[2 * basis : 2 * basis + 2])
        more, less = max(zero, one), min(zero, one)
        ratio = more / less if less else (math.inf if more else 1.0)
        worst = max(worst, ratio)
        failed |= ratio > limit and _above(more, more + less, limit / (1.0 + limit), seen.limits.chance)
        told.append(f"{name} {ratio:.3f}")
    declared = _declared(seen.limits.efficiencies)
    if declared > 1.0:
        told.append(f"declared {declared:.3f}")
    return _verdict(
        Assumption.EVEN_EFFICIENCY,
        not failed and declared <= limit,
        max(worst, declared),
        limit,
        f"eta_max/eta_min: {', '.join(told)}",
    )


def _declared(efficiencies: tuple[float, ...]) -> float:
    if not efficiencies:
        return 1.0
    return max(max(pair) / min(pair) for pair in (efficiencies[:2], efficiencies[2:]))


def _loss(seen: Seen) -> Verdict:
    """The odds of this station's bases among all pairs, over the odds that its analyser aims at."""
    z, x = (int(n) for n in seen.pairs.sum(axis=1))
    aim, limit = seen.limits.z_share / (1.0 - seen.limits.z_share), seen.limits.basis_ratio
    odds = z / x / aim if z and x else math.inf if z + x else 1.0
    high, low = aim * limit, aim / limit
    failed = _above(z, z + x, high / (1.0 + high), seen.limits.chance)
    failed |= _above(x, z + x, 1.0 / (1.0 + low), seen.limits.chance)
    declared = seen.limits.efficiencies
    between = float(np.mean(declared[:2]) / np.mean(declared[2:])) if declared else 1.0
    ratio = max(odds, 1.0 / odds if odds else math.inf, between, 1.0 / between)
    failed |= max(between, 1.0 / between) > limit
    return _verdict(Assumption.BASIS_INDEPENDENT_LOSS, not failed, ratio, limit, f"{z} pairs in Z, {x} in X")


def _split(seen: Seen) -> Verdict:
    """Of a passive analyser; one that is set to a basis has no business with events of both."""
    tally, limits = seen.tally, seen.limits
    if not limits.passive:
        both = tally.across / tally.multiple if tally.multiple else 0.0
        failed = _above(tally.across, tally.multiple, _BETWEEN_SETTINGS, limits.chance)
        return _verdict(
            Assumption.EVEN_SPLIT,
            not failed,
            both,
            _BETWEEN_SETTINGS,
            "of multiple clicks in both bases, yet not passive",
        )
    z, x = (int(n) for n in seen.pairs.sum(axis=1))
    share = z / (z + x) if z + x else 0.5
    uneven = _above(max(z, x), z + x, min(0.5 + limits.split_share, 1.0), limits.chance)
    return _verdict(
        Assumption.EVEN_SPLIT,
        not uneven,
        abs(share - 0.5),
        limits.split_share,
        f"share of Z less 1/2; {tally.across} events of both bases",
    )
