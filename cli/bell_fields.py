"""A Bell test in JSON and for people: S, what chance says of it, and what it does not rule out."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from qkd.errors import ParameterError

if TYPE_CHECKING:
    from cli.pair_fields import Stations
    from distribution.correlators import BellTest, Counts
    from distribution.pairs import PairReport
    from distribution.tags import TimeTags
    from qkd.bellgame import Interval
    from qkd.chsh import BellResult, Check

_FULL = 1.0 - 1e-6
# By detectors of Alice and of Bob, two a setting, outcome 0 first; spin angles of the papers halved for polarisation.
_KNOWN_ANGLES = {
    (6, 6): ("0,90,22.5,112.5,45,135", "22.5,112.5,45,135,67.5,157.5"),  # Ekert, PRL 67, 661 (1991)
    (6, 4): ("0,90,22.5,112.5,-22.5,67.5", "0,90,45,135"),  # Acin et al., PRL 98, 230501 (2007)
}


def known_angles(a: TimeTags, b: TimeTags) -> tuple[str, str] | None:
    """Angles of the protocol that has as many detectors as the stations clicked with; None if none has."""
    for (of_a, of_b), angles in _KNOWN_ANGLES.items():
        if a.counts().keys() == set(range(of_a)) and b.counts().keys() == set(range(of_b)):
            return angles
    return None


def of_recordings(report: PairReport, known: Stations, predictability: float | None) -> dict[str, Any]:
    """The Bell test that the angles make of two recordings: `fields`, with the settings and the key's error rates.

    Args:
        report, known: of the pair.
        predictability: of settings that were drawn evenly; None: shares as counted.

    Raises:
        ParameterError: the angles make no test, there are no counts for it, or the predictability cannot be.
    """
    from qkd.bellgame import SettingChoice
    from qkd.chsh import BellCounts, bell_result

    plan, counts = known.bell, report.outcomes
    if plan is None:
        raise ParameterError(
            "these analysers make no Bell test: no four settings are predicted to give S above 2",
            hint="give --angles-a and --angles-b, such as 0,90,45,135 and 22.5,112.5,67.5,157.5",
        )
    if counts is None:
        raise ParameterError(
            f"a Bell test needs clicks in each of the {known.shape[0]} detectors of A and {known.shape[1]} of B, "
            "and in no others",
            hint="give one angle for each detector, in the order of their numbers from 0",
        )
    choice = None if predictability is None else SettingChoice(predictability=predictability)
    result = bell_result(BellCounts.of_detectors(counts, plan), choice=choice, heralding=_heralding(report))
    found = fields(result)
    found["chsh"] |= _settings(plan, known) | {"matched": _matched(counts, known)}
    return found


def _heralding(report: PairReport) -> tuple[float, float] | None:
    a, b = report.counts.heralding_a, report.counts.heralding_b
    return None if a is None or b is None else (min(1.0, max(0.0, a)), min(1.0, max(0.0, b)))


def fields(result: BellResult) -> dict[str, Any]:
    """The stable field chsh_p_value, and everything else under `chsh`."""
    return {"chsh_p_value": result.p_value.value, "chsh": _nested(result)}


def _nested(result: BellResult) -> dict[str, Any]:
    choice = result.choice
    return {
        "s": result.s.value,
        "s_error": result.s.error,
        "correlators": [[e.value, e.error] for e in result.correlators],
        "wins": result.wins,
        "trials": result.trials,
        "win_share": result.win_share,
        "local_win": choice.local_win,
        "p_value": result.p_value.value,
        "log10_p_value": result.p_value.log10,
        "betting_p_value": result.betting_p_value.value,
        "log10_betting_p_value": result.betting_p_value.log10,
        "interval_iid": _interval(result.iid),
        "interval_memory": _interval(result.memory),
        "setting_shares": {"a": choice.share_a, "b": choice.share_b, "source": choice.source.value},
        "predictability": choice.predictability,
        "settings_check": _check(result.settings),
        "no_signalling": {
            "p_value": result.no_signalling.p_value,
            "alice": [_check(check) for check in result.no_signalling.alice],
            "bob": [_check(check) for check in result.no_signalling.bob],
        },
        "tsirelson_excess_sigmas": result.tsirelson_excess,
        "loopholes": [
            {"loophole": state.loophole.value, "open": state.is_open, "why": state.why} for state in result.loopholes
        ],
        "label": result.label,
    }


def _interval(found: Interval) -> dict[str, Any]:
    return {"low": found.low, "high": found.high, "confidence": found.confidence, "label": found.label}


def _check(check: Check) -> dict[str, Any]:
    return {"chi2": check.chi2, "degrees": check.degrees, "p_value": check.p_value}


def _settings(plan: BellTest, known: Stations) -> dict[str, Any]:
    """Which analysers the test is made of, in degrees, and what the ideal state gives."""
    return {
        "angles_a_deg": [known.angles_a[i] for i, _ in plan.settings_a],
        "angles_b_deg": [known.angles_b[i] for i, _ in plan.settings_b],
        "signs": list(plan.signs),
        "predicted": plan.predicted,
    }


def _matched(counts: Counts, known: Stations) -> list[dict[str, Any]]:
    """Error rates of pairs of settings that the state correlates fully: what E91 makes its key of."""
    from distribution.correlators import analyser_settings, setting_correlator
    from distribution.states import BellDiagonal

    ideal = BellDiagonal.from_visibilities(known.state, 1.0, 1.0)
    found = []
    for a, b in itertools.product(analyser_settings(known.angles_a), analyser_settings(known.angles_b)):
        at = known.angles_a[a[0]], known.angles_b[b[0]]
        expected = ideal.correlator(*map(math.radians, at))
        e = setting_correlator(counts, a, b)
        if e is not None and abs(expected) > _FULL:
            row = {"angle_a_deg": at[0], "angle_b_deg": at[1], "pairs": int(counts[list(a)][:, list(b)].sum())}
            found.append(
                row | {"qber": (1.0 - math.copysign(1.0, expected) * e.value) / 2.0, "qber_error": e.error / 2.0}
            )
    return found


def rows(chsh: dict[str, Any]) -> list[tuple[str, str]]:
    """The nested fields for people."""
    lines = []
    if "angles_a_deg" in chsh:
        for number, (value, error) in enumerate(chsh["correlators"]):
            a, b = chsh["angles_a_deg"][number // 2], chsh["angles_b_deg"][number % 2]
            sign = "+" if chsh["signs"][number] > 0 else "-"
            lines.append((f"{sign} E({a:g}, {b:g})", f"{value:+.4f} +- {error:.4f}"))
    wins = f"{chsh['wins']} of {chsh['trials']} won ({chsh['win_share']:.2%}); local models: {chsh['local_win']:.2%}"
    lines += [
        ("CHSH game", wins),
        ("p-value", f"{_chance(chsh, 'p_value')} against local models, memory allowed"),
        ("p-value by betting", f"{_chance(chsh, 'betting_p_value')}, whenever one stops"),
    ]
    lines += [_interval_row(chsh[name]) for name in ("interval_iid", "interval_memory")]
    lines += [("no-signalling", _open(chsh["no_signalling"]["p_value"])), _settings_row(chsh)]
    for row in chsh.get("matched", []):
        text = f"{row['qber']:.4f} +- {row['qber_error']:.4f} of {row['pairs']} pairs"
        lines.append((f"QBER at {row['angle_a_deg']:g}, {row['angle_b_deg']:g}", text))
    if excess := chsh["tsirelson_excess_sigmas"]:
        lines.append(("beyond quantum", f"{excess:.1f} errors above 2 sqrt(2): chance, or no fair sample of the pairs"))
    states = [(row["loophole"], "open" if row["open"] else "closed", row["why"]) for row in chsh["loopholes"]]
    lines += [(f"loophole: {name}", f"{state}: {why}") for name, state, why in states]
    return [*lines, ("S is", chsh["label"])]


def _chance(chsh: dict[str, Any], name: str) -> str:
    exponent = chsh[f"log10_{name}"]
    return f"{chsh[name]:.3g}" if exponent > -300 else f"10^{exponent:.1f}"


def _interval_row(interval: dict[str, Any]) -> tuple[str, str]:
    return (
        f"S at {interval['confidence']:.0%}",
        f"{interval['low']:.4f} .. {interval['high']:.4f} ({interval['label']})",
    )


def _open(chance: float | None) -> str:
    return "too few counts to say" if chance is None else f"p = {chance:.3g} (four checks, smallest times four)"


def _settings_row(chsh: dict[str, Any]) -> tuple[str, str]:
    shares, check = chsh["setting_shares"], chsh["settings_check"]
    asked = "independent" if shares["source"] == "counted" else "as declared"
    chance = "too few counts to say" if check["p_value"] is None else f"p = {check['p_value']:.3g}"
    text = f"first one {shares['a']:.4f} of a, {shares['b']:.4f} of b ({shares['source']}); {asked}: {chance}"
    return "settings", text + (f"; predictability {chsh['predictability']:g}" if chsh["predictability"] else "")
