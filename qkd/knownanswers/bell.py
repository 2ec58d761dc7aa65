"""Runner for vectors of the bound on phase errors from tested settings (`qkd.bellkey`)."""

from __future__ import annotations

from qkd.bellkey import OutcomeCounts, phase_error_bound
from qkd.knownanswers.frame import Answer, Json, Runner


def _bell_phase_errors(group: Json, test: Json) -> Answer:
    counts = OutcomeCounts(
        key=test["key"],
        plus_equal=test["plusEqual"],
        plus_different=test["plusDifferent"],
        minus_equal=test["minusEqual"],
        minus_different=test["minusDifferent"],
        across=test["across"],
        pairs=group["parameters"]["pairs"],
    )
    return Answer({"phaseErrors": phase_error_bound(counts, group["parameters"]["epsSm"])})


RUNNERS: dict[str, Runner] = {"BellPhaseErrorTest": _bell_phase_errors}
"""By type of group."""
