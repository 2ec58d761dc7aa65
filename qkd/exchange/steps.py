"""How a role is written: a generator that yields what it needs next.

    yield message         send it
    yield WAIT            the next message from the peer
    yield TagsUntil(t)    this station's own tags up to local time t

Stages compose with `yield from`, so the program counter is the protocol state and a protocol file reads like the
paper. Nothing here does I/O: `qkd.exchange.engine` runs a role, and whoever holds the engine moves the bytes.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar, overload

from distribution.tags import TagChunk
from qkd.errors import LocalProtocolError, RemoteProtocolError
from qkd.exchange.messages import Message


class Role(Enum):
    """Alice holds the reference string and matches coincidences; Bob corrects his."""

    ALICE = "alice"
    BOB = "bob"

    @property
    def peer(self) -> Role:
        """The other one."""
        return Role.BOB if self is Role.ALICE else Role.ALICE


class Wait(Enum):
    """What a role yields to wait for the peer's next message."""

    MESSAGE = "message"


WAIT = Wait.MESSAGE


@dataclass(frozen=True, slots=True)
class TagsUntil:
    """What a role yields to get all of its own tags older than `until_ps` that were not handed out before.

    None asks for the first tags, whenever they come and whatever their times: at least one, unless the tagger ended.
    """

    until_ps: int | None


Request = Message | Wait | TagsUntil
Reply = Message | TagChunk | None

R = TypeVar("R")
Steps = Generator[Request, Reply, R]
M1 = TypeVar("M1", bound=Message)
M2 = TypeVar("M2", bound=Message)


def send(message: Message) -> Steps[None]:
    """Send one message."""
    yield message


@overload
def receive(kind: type[M1], /) -> Steps[M1]: ...
@overload
def receive(kind: type[M1], other: type[M2], /) -> Steps[M1 | M2]: ...
def receive(*kinds: type[Message]) -> Steps[Message]:
    """Wait for the next message, which must be of one of the named kinds.

    Raises:
        RemoteProtocolError: it is of another kind.
    """
    message = yield WAIT
    if not isinstance(message, kinds):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise RemoteProtocolError(f"expected {expected}, got {type(message).__name__}")
    return message


def tags_until(until_ps: int | None) -> Steps[TagChunk]:
    """This station's own tags, as `TagsUntil` says."""
    chunk = yield TagsUntil(until_ps)
    if not isinstance(chunk, TagChunk):
        raise LocalProtocolError(f"asked for tags until {until_ps} ps, was given {type(chunk).__name__}")
    return chunk
