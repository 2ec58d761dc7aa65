"""What `qkd analyse A B` says beyond the counts: figures with errors, in JSON, for people and as a CSV of epochs."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli import output
from qkd.errors import ParameterError

if TYPE_CHECKING:
    from distribution.coincidence import CoincidenceSummary
    from distribution.correlators import BellTest, Counts
    from distribution.epochs import Epoch
    from distribution.estimates import Estimate
    from distribution.pairs import PairReport
    from distribution.skew import Skew
    from distribution.states import BellState

HVDA_DEG = (0.0, 90.0, 45.0, 135.0)
_SHOWN_EPOCHS = 20


@dataclass(frozen=True, slots=True)
class Stations:
    """What is known of the two stations beforehand, and the state aimed at.

    Attributes:
        state: the Bell state.
        shape: detectors of Alice and of Bob.
        angles_a, angles_b: polarisation that each of them looks for, degrees.
        in_bases: both sides measure H, V, D, A, so that error rates and visibilities have a meaning.
        bell: the CHSH test that the angles make, if they do.
        dark_cps: dark counts per second of Alice and of Bob.
    """

    state: BellState
    shape: tuple[int, int]
    angles_a: tuple[float, ...]
    angles_b: tuple[float, ...]
    in_bases: bool
    bell: BellTest | None
    dark_cps: tuple[float, float]


def stations(state: str, angles_a: str | None, angles_b: str | None, dark_cps: tuple[float, float]) -> Stations:
    """Read the options; without angles detectors 0..3 are H, V, D, A on both sides.

    Raises:
        ParameterError: angles of one side only, or no list of numbers.
    """
    from distribution.correlators import bell_test
    from distribution.states import BellState

    if (angles_a is None) != (angles_b is None):
        raise ParameterError("--angles-a and --angles-b go together", hint="give the angles of both sides")
    a, b = (HVDA_DEG if text is None else _angles(text) for text in (angles_a, angles_b))
    aim = BellState(state)
    return Stations(aim, (len(a), len(b)), a, b, a == b == HVDA_DEG, bell_test(a, b, aim), dark_cps)


def _angles(text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ParameterError(f"analyser angles {text!r}: give degrees like 0,90,45,135") from None
    if not 2 <= len(found) <= 16:
        raise ParameterError(f"analyser angles {text!r}: give one for each of 2 to 16 detectors")
    return found


def outcome_fields(counts: Counts | None, known: Stations) -> dict[str, float | None]:
    """Error rates, visibilities and S with their errors, null where the detectors do not allow them."""
    from distribution.correlators import error_rate, visibility
    from distribution.states import Basis

    found: dict[str, float | None] = {}
    table = counts if known.in_bases else None
    for name, basis in (("z", Basis.Z), ("x", Basis.X)):
        found |= _pair(f"qber_{name}", None if table is None else error_rate(table, basis, known.state))
        found |= _pair(f"visibility_{name}", None if table is None else visibility(table, basis, known.state))
    found |= _pair("chsh_s", known.bell.s(counts) if counts is not None and known.bell else None)
    return found


def summary_errors(summary: CoincidenceSummary) -> dict[str, float | None]:
    """Errors of CAR and of the heralding efficiencies."""
    names = ("car_error", "heralding_a_error", "heralding_b_error")
    return {name: getattr(summary, name) for name in names}


def measured(report: PairReport, known: Stations) -> dict[str, Any]:
    """The fields that `compare` adds to the stable ones."""
    fields: dict[str, Any] = {
        "g2": {name: _plain(getattr(report.g2, name)) for name in ("cross", *_BEAMS)},
        "skew_ps": _skew(report.skew),
        "adev": [asdict(deviation) for deviation in report.stability],
    }
    if report.epochs:
        fields["epochs"] = [epoch_fields(epoch, known) for epoch in report.epochs]
    fields |= summary_errors(report.counts) | outcome_fields(report.outcomes, known)
    return fields | _inferred_s(fields)


def _inferred_s(fields: dict[str, Any]) -> dict[str, float | None]:
    """S that quantum mechanics infers from the two visibilities, sqrt(2) (|V_z| + |V_x|): no Bell test."""
    z, x = fields["visibility_z"], fields["visibility_x"]
    if z is None or x is None:
        return {"s_from_visibility": None, "s_from_visibility_error": None}
    error = math.sqrt(2) * math.hypot(fields["visibility_z_error"], fields["visibility_x_error"])
    return {"s_from_visibility": math.sqrt(2) * (abs(z) + abs(x)), "s_from_visibility_error": error}


_BEAMS = ("beam_a", "beam_b", "heralded_a", "heralded_b")


def epoch_fields(epoch: Epoch, known: Stations) -> dict[str, Any]:
    """One epoch as a flat row."""
    summary = epoch.summary(known.dark_cps)
    fields: dict[str, Any] = {
        "start_ps": epoch.start_ps,
        "seconds": epoch.seconds,
        "singles_a": epoch.singles_a,
        "singles_b": epoch.singles_b,
        "coincidences": epoch.coincidences,
        "accidentals": summary.accidentals,
        "ambiguous": epoch.ambiguous,
        "delay_ps": epoch.delay_ps / epoch.coincidences if epoch.coincidences else None,
        "car": summary.car,
        "heralding_a": summary.heralding_a,
        "heralding_b": summary.heralding_b,
    }
    return fields | summary_errors(summary) | outcome_fields(epoch.outcomes if epoch.outcomes.size else None, known)


def write_epochs(path: Path, rows: list[dict[str, Any]]) -> None:
    """The rows as CSV with a line of names; what is not known is an empty cell."""
    from distribution.formats.recording import write_atomically

    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["start_ps"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())
    output.say(f"wrote {len(rows)} epochs to {path}")


def rows(fields: dict[str, Any]) -> list[tuple[str, str]]:
    """The same for people."""
    lines = [
        ("visibility", f"z {with_error(fields, 'visibility_z')}, x {with_error(fields, 'visibility_x')}"),
        ("CHSH S", with_error(fields, "chsh_s") + ("" if fields["chsh_s"] is not None else " (no Bell test)")),
    ]
    for name, found in fields["g2"].items():
        if found is not None:
            lines.append((f"g2 {name.replace('_', ' ')}", f"{found['value']:.4g} +- {found['error']:.2g}"))
    if skew := fields["skew_ps"]:
        for side in "ab":
            delays = zip(skew[side], skew[f"{side}_error"], strict=True)
            text = ", ".join("-" if d is None else f"{d:+.1f} +- {e:.1f}" for d, e in delays)
            lines.append((f"skew {side} (taken off)", f"{text} ps"))
    if fields["adev"]:
        first = fields["adev"][0]
        text = f"ADEV {first['adev']:.2e}, TDEV {first['tdev_ps'] or 0:.2f} ps at {first['tau_s']:.3g} s"
        lines.append(("residual clock", text))
    return lines + _epoch_rows(fields.get("epochs", []))


def _epoch_rows(epochs: list[dict[str, Any]]) -> list[tuple[str, str]]:
    lines = []
    for number, row in enumerate(epochs[:_SHOWN_EPOCHS]):
        text = f"{row['seconds']:.4g} s, {row['coincidences']} pairs, {row['accidentals']:.1f} accidental"
        if row["qber_z"] is not None or row["qber_x"] is not None:
            text += f", QBER z {with_error(row, 'qber_z')}, x {with_error(row, 'qber_x')}"
        if row["chsh_s"] is not None:
            text += f", S {with_error(row, 'chsh_s')}"
        lines.append((f"epoch {number}", text))
    if len(epochs) > _SHOWN_EPOCHS:
        lines.append(("...", f"{len(epochs) - _SHOWN_EPOCHS} more; --epochs FILE.csv writes them all"))
    return lines


def with_error(fields: dict[str, Any], name: str) -> str:
    """A figure and its error to two digits, four places at least; or a dash."""
    if fields[name] is None:
        return "-"
    error = fields[f"{name}_error"]
    if not error:
        return f"{fields[name]:.4f}"
    places = max(4, 1 - math.floor(math.log10(error)))
    return f"{fields[name]:.{places}f} +- {error:.{places}f}"


def _pair(name: str, found: Estimate | None) -> dict[str, float | None]:
    return {name: found.value if found else None, f"{name}_error": found.error if found else None}


def _plain(found: Estimate | None) -> dict[str, float] | None:
    return None if found is None else asdict(found)


def _skew(skew: Skew | None) -> dict[str, Any] | None:
    if skew is None:
        return None
    return {
        "a": list(skew.a_ps),
        "b": list(skew.b_ps),
        "a_error": list(skew.a_error_ps),
        "b_error": list(skew.b_error_ps),
        "common": skew.common_ps,
        "chi2": skew.chi2,
        "degrees": skew.degrees,
    }
