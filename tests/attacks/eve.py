"""Eve on the classical line: what she may do to one message, given all that was said before and in other sessions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from qkd.exchange.codec import decode, encode
from qkd.exchange.messages import Abort, Tag
from qkd.exchange.steps import Role
from tests.attacks.sessions import Said


@dataclass(slots=True)
class Eve:
    """A tampering line: acts on message number `target`, counted over both directions from 0.

    Attributes:
        act: (Eve, sender, message) -> what arrives instead; called from the target on while it wants to be.
        heard: all that was sent so far.
        acted: she altered something.
    """

    target: int
    act: Callable[[Eve, Role, bytes], list[bytes]]
    heard: list[tuple[Role, bytes]] = field(default_factory=list)
    held: list[bytes] = field(default_factory=list)
    acted: bool = False
    whom: Role = Role.ALICE

    def __call__(self, sender: Role, encoded: bytes) -> list[bytes]:
        number = len(self.heard)
        self.heard.append((sender, encoded))
        if number < self.target:
            return [encoded]
        if number == self.target:
            self.whom = sender
        arrives = self.act(self, sender, encoded)
        self.acted = self.acted or arrives != [encoded]
        return arrives

    @property
    def on_target(self) -> bool:
        """The message at hand is the one she waited for."""
        return len(self.heard) == self.target + 1


Act = Callable[[Eve, Role, bytes], list[bytes]]


def instead(*arrives: bytes) -> Act:
    """These arrive instead of the message."""
    return lambda eve, _sender, encoded: list(arrives) if eve.on_target else [encoded]


def also(*arrives: bytes) -> Act:
    """These arrive after the message."""
    return lambda eve, _sender, encoded: [encoded, *arrives] if eve.on_target else [encoded]


def before(*arrives: bytes) -> Act:
    """These arrive before the message."""
    return lambda eve, _sender, encoded: [*arrives, encoded] if eve.on_target else [encoded]


def delay(eve: Eve, sender: Role, encoded: bytes) -> list[bytes]:
    """The message arrives after the next one of its sender."""
    if eve.on_target:
        eve.held = [encoded]
        return []
    if eve.held and sender is eve.whom:
        held, eve.held = eve.held, []
        return [encoded, *held]
    return [encoded]


def reflect(eve: Eve, sender: Role, encoded: bytes) -> list[bytes]:
    """The message comes back to its sender in the place of the peer's answer."""
    if eve.on_target:
        eve.held = [encoded]
        return [encoded]
    if eve.held and sender is not eve.whom:
        held, eve.held = eve.held, []
        return held
    return [encoded]


def splice(other: Sequence[Said], *, sparing: tuple[type, ...] = ()) -> Act:
    """From the target on, every message is replaced by that of its place in another session.

    The place of a message is its kind, its sender and how many of these were said before. Messages of the kinds that
    are spared arrive as they were sent: tags, which Eve would rather have fresh.
    """
    places: dict[tuple[Role, type], list[bytes]] = {}
    for said in other:
        places.setdefault((said.sender, type(said.message)), []).append(said.encoded)

    def act(eve: Eve, sender: Role, encoded: bytes) -> list[bytes]:
        kind = type(decode(encoded))
        if kind in sparing:
            return [encoded]
        place = sum(1 for s, e in eve.heard if s is sender and type(decode(e)) is kind) - 1
        there = places.get((sender, kind), [])
        return [there[place]] if place < len(there) else [encoded]

    return act


def swap_in(other: Sequence[Said], *, shift: int = 0) -> Act:
    """The target alone is replaced by the message of its place in another session, `shift` places on."""
    whole = splice(other)

    def act(eve: Eve, sender: Role, encoded: bytes) -> list[bytes]:
        return whole(eve, sender, encoded) if eve.on_target else [encoded]

    return act


FORGED = (
    Abort("QberTooHigh", "forged", {"qber_z": 0.5, "qber_x": 0.5, "limit": 0.11}),
    Abort("KeyTooShort", "forged", {"__class__": 1.0, "args": 1.0, "__traceback__": 1.0, "hint": 1.0}),
    Abort("SystemExit", "\x1b[2Jforged\n", {"code": float("nan")}),
    Tag(0, bytes(16)),
    Tag(1 << 63, b""),
)


def forged() -> list[tuple[str, bytes]]:
    """Messages that Eve can make by herself at any time."""
    return [(f"{type(m).__name__} {i}", encode(m)) for i, m in enumerate(FORGED)]
