"""Every attack on the classical line, made by looking at what a session says: kinds of message, their fields, actions.

No message or field of a session is named here, so one that is added is attacked as soon as some session says it, and
`tests/test_attacks.py` fails until one does.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import get_args

from qkd.exchange.messages import (
    AnyMessage,
    BootstrapCiphertext,
    BootstrapHello,
    BootstrapKey,
    BootstrapProof,
    Message,
    Tag,
)
from qkd.exchange.steps import Role
from tests.attacks.alterations import TELLING, altered_messages, fields, flipped
from tests.attacks.eve import Act, Eve, also, before, delay, forged, instead, reflect, splice, swap_in
from tests.attacks.sessions import KINDS, OTHER_LINK, Kind, Played, Said, honest

# What is said before the stations share any key; `tests/test_bootstrap.py` attacks each field of it.
BEGINNING = (BootstrapHello, BootstrapKey, BootstrapCiphertext, BootstrapProof)
MESSAGES: tuple[type[Message], ...] = tuple(m for m in get_args(AnyMessage) if m not in BEGINNING)
ACTIONS = (
    "alter a field",
    "flip a bit",
    "drop",
    "repeat",
    "replay",
    "reorder",
    "truncate",
    "extend",
    "reflect",
    "splice",
    "forge",
)


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack on one session.

    Attributes:
        kind: the session. message: the kind of message that is attacked. action: one of ACTIONS.
        detail: what exactly, with the field's name first where there is one.
        target: number of the message in the session; act: what Eve does from there on.
        sender: who sent it.
    """

    kind: Kind
    message: type[Message]
    action: str
    detail: str
    target: int
    act: Act
    sender: Role

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.kind.name}: message {self.target} {self.message.__name__}: {self.action}, {self.detail}"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of an attack; `void` where Eve found nothing to act on."""

    attack: Attack
    played: Played
    void: bool


def kind_of(said: Said) -> type[Message]:
    """Class of a message that was said."""
    return type(said.message)


def kinds_saying(message: type[Message]) -> list[Kind]:
    """The sessions in which such a message is sent."""
    return [kind for kind in KINDS if any(kind_of(said) is message for said in honest(kind).said)]


def targets(kind: Kind, message: type[Message], *, all_places: bool) -> list[int]:
    """Numbers of the messages to attack: of each sender the first, or else first, middle and last in each block."""
    said = honest(kind).said
    found = []
    for role in Role:
        for block in sorted({s.block for s in said}):
            places = [i for i, s in enumerate(said) if (s.sender, s.block, kind_of(s)) == (role, block, message)]
            if places:
                found += [places[0], places[len(places) // 2], places[-1]] if all_places else places[:1]
    firsts = [
        min(i for i in found if said[i].sender is role) for role in Role if any(said[i].sender is role for i in found)
    ]
    # Tags differ in what they are about by their place.
    return sorted(set(found)) if all_places or message is Tag else sorted(firsts)


def attacks(kind: Kind, message: type[Message], *, thorough: bool = False) -> Iterator[Attack]:
    """Every attack on one kind of message in one kind of session; without `thorough` only the telling ones."""
    for target in targets(kind, message, all_places=thorough):
        said = honest(kind).said[target]
        on_fields = (made for made in _on_fields(said, target) if thorough or made[1].split(" ", 1)[1] in TELLING)
        for action, detail, act in (*on_fields, *_on_bytes(said, target, thorough), *_on_order(kind, target)):
            yield Attack(kind, message, action, detail, target, act, said.sender)


Made = Iterator[tuple[str, str, Act]]


def _on_fields(said: Said, target: int) -> Made:
    rng = random.Random(target)
    for field in fields(kind_of(said)):
        for detail, encoded in altered_messages(said.message, field, rng):
            yield "alter a field", f"{field} {detail}", instead(encoded)


def _on_bytes(said: Said, target: int, thorough: bool) -> Made:
    rng, encoded = random.Random(target), said.encoded
    bits = 8 * len(encoded)
    for bit in (0, bits - 1, *(rng.randrange(bits) for _ in range(20 if thorough else 1))):
        yield "flip a bit", f"bit {bit}", instead(flipped(encoded, bit))
    for length in (0, len(encoded) // 2, len(encoded) - 1):
        yield "truncate", f"to {length} bytes", instead(encoded[:length])
    for more in (b"\0", b"\xc0", encoded):
        yield "extend", f"by {len(more)} bytes", instead(encoded + more)


def _on_order(kind: Kind, target: int) -> Made:
    said = honest(kind).said
    mine = said[target]
    yield "drop", "", instead()
    yield "repeat", "", also(mine.encoded)
    earlier = [s for s in said[:target] if s.sender is mine.sender]
    alike = [s for s in earlier if kind_of(s) is kind_of(mine)]
    for name, old in (("the first of its kind", alike[:1]), ("the one before", earlier[-1:])):
        for s in old:
            yield "replay", f"{name} instead", instead(s.encoded)
            yield "replay", f"{name} before it", before(s.encoded)
    yield "reorder", "after the next of its sender", delay
    yield "reflect", "in the place of the answer", reflect
    for detail, act in _splices(kind, mine):
        yield "splice", detail, act
    for name, encoded in forged():
        yield "forge", f"{name} instead", instead(encoded)
        yield "forge", f"{name} before it", before(encoded)


def _splices(kind: Kind, mine: Said) -> Iterator[tuple[str, Act]]:
    again = honest(kind, "again").said
    elsewhere = honest(kind, "elsewhere", OTHER_LINK).said
    yield "from another session of this link", swap_in(again)
    yield "from another link with the same parameters", swap_in(elsewhere)
    if mine.block == 0:
        yield "from the next block", swap_in([s for s in honest(kind).said if s.block == 1])
    yield "all from here on from another session", splice(again)
    yield "all but the tags from another session", splice(again, sparing=(Tag,))


def carry_out(attack: Attack, *, recover: bool = True) -> Result:
    """Play the session with the attack."""
    eve = Eve(attack.target, attack.act)
    played = attack.kind.play(eve, recover=recover)
    return Result(attack, played, void=not eve.acted)


@cache
def results(message: type[Message]) -> tuple[Result, ...]:
    """The telling attacks on one kind of message, in the first kind of session that says it and in those about it.

    In the latter only fields are altered. After every fifth attack the line becomes honest again, and after all on
    tags, whose pads are a stock, and all that left the ends with different blocks.
    """
    first, *others = kinds_saying(message)
    made = list(attacks(first, message))
    for kind in others:
        if message.__name__ in kind.about:
            made += [attack for attack in attacks(kind, message) if attack.action == "alter a field"]
    return tuple(carry_out(attack, recover=i % 5 == 0 or message is Tag) for i, attack in enumerate(made))


def sweep(kind: Kind, message: type[Message]) -> Iterator[Result]:
    """All attacks on one kind of message in one kind of session: first, middle and last of it in every block."""
    yield from map(carry_out, attacks(kind, message, thorough=True))
