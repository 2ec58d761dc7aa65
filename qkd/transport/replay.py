"""One engine against a recorded conversation: the peer's words come from the record, ours are held against it.

    recording = [Said(Role.BOB, ...), Said(Role.ALICE, ...), ...]
    replay = Replay(recording)
    replay.drive(engine, tags)      once per engine: the handshake's, then the block's

This is how a second implementation shows that it speaks the protocol, and how we show that we still do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from distribution.delivery import TagSource
from qkd.errors import LocalProtocolError
from qkd.exchange.engine import Engine
from qkd.exchange.steps import Role

R = TypeVar("R")


class RecordingDiffers(LocalProtocolError):
    """This side did not say what the recording says it said.

    Args:
        number: which message of the recording, from 0.
        detail: how the two differ.
    """

    def __init__(self, number: int, detail: str) -> None:
        super().__init__(f"message {number} of the recording: {detail}")
        self.number = number


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a recorded conversation."""

    sender: Role
    encoded: bytes


class Replay:
    """A recorded conversation, spoken once.

    Args:
        recording: all messages in the order in which they travelled.
        exact: whether what the engine sends must equal the recording byte for byte; without, it only has to send when
            the recording does (for recordings that somebody altered).
    """

    def __init__(self, recording: Sequence[Said], *, exact: bool = True) -> None:
        self._recording = recording
        self._exact = exact
        self._next = 0

    @property
    def ended(self) -> bool:
        """Every message has been spoken."""
        return self._next == len(self._recording)

    def drive(self, engine: Engine[R], tags: TagSource | None = None) -> R:
        """Run one engine to its end, from where the recording stands; returns its result.

        Args:
            engine: either role; which one decides whose words are its own.
            tags: its own tags, if it asks for any.

        Raises:
            RecordingDiffers: it says something else, speaks out of turn, or the recording ends too soon.
            QkdError: what the role raises.
        """
        while True:
            for encoded in engine.take_outgoing():
                self._compare(engine.role, encoded)
            if engine.done:
                return engine.result
            if engine.wants_tags is None:
                engine.receive(self._message_to(engine.role))
            elif tags is None:
                raise LocalProtocolError(f"{engine.role.value} asks for tags and has no source of them")
            else:
                engine.feed(tags.until(engine.wants_tags.until_ps))

    def _compare(self, role: Role, encoded: bytes) -> None:
        number, recorded = self._take(f"{role.value} says more")
        if recorded.sender is not role:
            raise RecordingDiffers(number, f"{role.value} speaks where it is {recorded.sender.value}'s turn")
        if self._exact and recorded.encoded != encoded:
            raise RecordingDiffers(number, _difference(recorded.encoded, encoded))

    def _message_to(self, role: Role) -> bytes:
        number, recorded = self._take(f"{role.value} waits for another message")
        if recorded.sender is role:
            raise RecordingDiffers(number, f"{role.value} waits where it should speak")
        return recorded.encoded

    def _take(self, otherwise: str) -> tuple[int, Said]:
        number = self._next
        if self.ended:
            raise RecordingDiffers(number, f"the recording is over, but {otherwise}")
        self._next += 1
        return number, self._recording[number]


def _difference(recorded: bytes, said: bytes) -> str:
    """Where two messages part."""
    same = next((i for i, (a, b) in enumerate(zip(recorded, said, strict=False)) if a != b), None)
    if same is None:
        return f"{len(recorded)} bytes are due, {len(said)} were said"
    return f"byte {same} is {recorded[same]:#04x}, {said[same]:#04x} was said"
