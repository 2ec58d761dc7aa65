"""How commands show the findings of the side-channel monitors: JSON objects and two-column rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distribution.formats import Recording
    from distribution.monitors.finding import Finding
    from distribution.pairs import PairReport

Rows = list[tuple[str, str]]


def of_one(recording: Recording) -> tuple[dict[str, Any], Rows]:
    """The `monitors` field of one recording, and its rows; null and none unless it has four detectors."""
    from distribution.monitors.recordings import watch_tags, watchable

    if not watchable(recording.tags):
        return {"monitors": None}, []
    return _shown({"a": watch_tags(recording.tags)})


def of_two(a: Recording, b: Recording, report: PairReport) -> tuple[dict[str, Any], Rows]:
    """The same of two recordings whose pairs were found."""
    from distribution.monitors.recordings import watch_pairs, watchable

    if not (watchable(a.tags) and watchable(b.tags)):
        return {"monitors": None}, []
    watched = watch_pairs(a.tags, b.tags, report.b_ps, report.window_ps)
    return _shown({name: getattr(watched, name) for name in ("a", "b", "pairs_a", "pairs_b")})


def _shown(findings: dict[str, list[Finding]]) -> tuple[dict[str, Any], Rows]:
    every = [(where, finding) for where, found in findings.items() for finding in found]
    alarms = [(where, finding) for where, finding in every if finding.alarm]
    fields = {
        "alarms": sorted({finding.watch.value for _, finding in alarms}),
        **{where: [finding.fields() for finding in found] for where, found in findings.items()},
    }
    rows = [("monitors", f"{len(alarms)} alarms in {len(every)} findings")]
    rows += [(f"  {where}", finding.text) for where, finding in alarms]
    return {"monitors": fields}, rows
