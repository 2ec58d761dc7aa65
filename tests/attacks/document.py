"""The tables of docs/attacks.md, from what the suite finds; the document is held against them by a test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from cli.output import exit_code
from qkd.errors import QkdError
from qkd.exchange.steps import Role
from tests.attacks.middle import against
from tests.attacks.photonic import Seen, cases, seen
from tests.attacks.sessions import honest
from tests.attacks.suite import ACTIONS, MESSAGES, Result, results

DOCUMENT = Path(__file__).parents[2] / "docs" / "attacks.md"
# A key that is so much shorter per sifted bit than on the honest link is what an attack comes to.
SHORTER = 0.9


def classical() -> str:
    """Messages by actions: which errors end the session, each with how many attacks it ended."""
    lines = ["| message | " + " | ".join(ACTIONS) + " |", "|---|" + "---|" * len(ACTIONS)]
    for message in MESSAGES:
        row = [_caught(r for r in results(message) if r.attack.action == action) for action in ACTIONS]
        lines.append(f"| {message.__name__} | " + " | ".join(row) + " |")
    return "\n".join(lines)


_SHORT = {
    "AuthenticationError": "tag",
    "RemoteProtocolError": "rules",
    "PeerUnreachable": "silence",
    "KeyExhausted": "pads",
    "nothing altered": "ignored",
}


def _caught(found: Iterable[Result]) -> str:
    counts = Counter(_word(r) for r in found if not r.void)
    return ", ".join(f"{word} {n}" for word, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))) or "-"


def _word(result: Result) -> str:
    """What ended the session first."""
    if not result.played.errors:
        return _SHORT["nothing altered"]
    name = type(result.played.errors[0]).__name__
    if honest(result.attack.kind).errors:  # the session ends with an error anyway: what does the receiver make of it?
        name = result.played.caught[result.attack.sender.peer] or "PeerUnreachable"
    return _SHORT.get(name, name)


def shown() -> str:
    """Each error that an attack on the line ended in: exit code, and what the user reads, in the commonest case."""
    texts: dict[str, Counter[str]] = {}
    errors: dict[str, QkdError] = {}
    for result in (r for message in MESSAGES for r in results(message) if r.attack.action != "forge"):
        for error in result.played.errors[:1]:
            name = type(error).__name__
            texts.setdefault(name, Counter())[str(error)] += 1
            errors[name] = error
    lines = ["| error | in the table | exit code | for example |", "|---|---|---|---|"]
    for name, error in sorted(errors.items()):
        text = texts[name].most_common(1)[0][0].replace("|", "\\|")
        lines.append(f"| {name} | {_SHORT.get(name, name)} | {int(exit_code(error))} | {text} |")
    return "\n".join(lines)


def middle() -> str:
    """Eve with engines of her own."""
    lines = ["| Eve plays | to | caught by |", "|---|---|---|"]
    for victim in Role:
        lines.append(f"| {victim.peer.value} | {victim.value} | {against(victim).caught[victim]} |")
    return "\n".join(lines)


def photons() -> str:
    """Links by what their users see."""
    honest = seen(cases()[0])
    lines = [
        "| link | abort | alarms at Alice | alarms at Bob | claim | failed | key bits of sifted bits | caught by |",
        "|" + "---|" * 8,
    ]
    for case in cases():
        found = seen(case)
        key = f"{found.secret_bits} of {found.sifted_bits}" if found.blocks else "none"
        lists = (found.ends, *(found.alarms[role] for role in Role), found.claims, found.failed)
        told = [", ".join(names) or "-" for names in lists]
        caught = ", ".join(catches(found, honest)) or "nothing"
        lines.append(f"| {' | '.join((case.name, *told, key, caught))} |")
    return "\n".join(lines)


def catches(found: Seen, honest: Seen) -> tuple[str, ...]:
    """By what an attack on the photons, or a broken detector, comes to nothing or to light."""
    ways = []
    if found.ends:
        ways.append("abort")
    if any(found.alarms.values()):
        ways.append("alarm")
    if found.failed:
        ways.append("claim lost")
    if found.blocks and found.secret_bits / found.sifted_bits < SHORTER * honest.secret_bits / honest.sifted_bits:
        ways.append("shorter key")
    return tuple(ways)


TABLES = {"classical": classical, "shown": shown, "middle": middle, "photons": photons}


def written(document: str) -> str:
    """The document with its tables made anew; each stands between `<!-- NAME -->` and `<!-- end -->`."""
    for name, make in TABLES.items():
        head, mark, rest = document.partition(f"<!-- {name} -->\n")
        _, end, tail = rest.partition("<!-- end -->")
        assert mark, f"docs/attacks.md has no place for {name}"
        document = head + mark + make() + "\n" + end + tail
    return document
