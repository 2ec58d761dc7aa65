"""Known-answer vectors against this code: everything a vector states must come out, or its error class be raised.

A group's `type` names the runner. It computes from a test's inputs all that stands under `intermediate` and
`expected`; every key and value must be equal. A test whose `result` is not "valid" names an error class, and exactly
that class must be raised: a failure in the wrong layer is a failure. Nothing here touches a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qkd.errors import QkdError
from qkd.knownanswers import bell, coding, ldpc, recordings, sifting, stages, transcript
from qkd.knownanswers.frame import Json, Runner

VALID = "valid"

RUNNERS: dict[str, Runner] = {
    **coding.RUNNERS,
    **recordings.RUNNERS,
    **sifting.RUNNERS,
    **stages.RUNNERS,
    **ldpc.RUNNERS,
    **transcript.RUNNERS,
    **bell.RUNNERS,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One test against this code.

    Attributes:
        tc_id, comment: of the test.
        problem: what differs; "" when the test passes.
    """

    tc_id: int
    comment: str
    problem: str


def check_document(document: Json) -> list[Verdict]:
    """Every test of one vector file, in order; also that it has as many as it says.

    Args:
        document: the file, parsed.
    """
    verdicts = [
        Verdict(test["tcId"], test["comment"], check_test(group, test))
        for group in document["testGroups"]
        for test in group["tests"]
    ]
    if len(verdicts) != document["numberOfTests"]:
        problem = f"numberOfTests is {document['numberOfTests']}, the file has {len(verdicts)}"
        verdicts.append(Verdict(0, "the file as a whole", problem))
    return verdicts


def check_test(group: Json, test: Json) -> str:
    """Run one test of a group; returns what is wrong, or "".

    Any exception is a finding, never an excuse to stop: a checker that dies says nothing about the tests after it.
    """
    runner = RUNNERS.get(group["type"])
    if runner is None:
        return f"this release knows no tests of type {group['type']}"
    try:
        answer = runner(group, test)
    except QkdError as error:
        raised = type(error).__name__
        return "" if raised == test["result"] else f"{test['result']} is due, {raised} was raised: {error}"
    except Exception as error:
        return f"{test['result']} is due, {type(error).__name__} escaped: {error}"
    if test["result"] != VALID:
        return f"{test['result']} is due, nothing was raised"
    found = {"expected": answer.expected, "intermediate": answer.intermediate}
    stated = {"expected": test["expected"], "intermediate": test.get("intermediate", {})}
    return next(_differences("", stated, found), "")


def _differences(path: str, stated: object, found: object) -> Iterator[str]:
    """Where two JSON values differ, as text."""
    if isinstance(stated, dict) and isinstance(found, dict):
        for key in sorted(stated.keys() | found.keys()):
            here = f"{path}.{key}".lstrip(".")
            if key not in stated or key not in found:
                yield f"{here} is only in the {'vector' if key in stated else 'answer'}"
            else:
                yield from _differences(here, stated[key], found[key])
    elif isinstance(stated, list) and isinstance(found, list) and len(stated) == len(found):
        for i, (one, other) in enumerate(zip(stated, found, strict=True)):
            yield from _differences(f"{path}[{i}]", one, other)
    elif type(stated) is not type(found) or stated != found:
        yield f"{path} is {_short(stated)}, this code gives {_short(found)}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"
