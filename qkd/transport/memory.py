"""Two engines in one process, joined by a line that anybody may stand on.

Every message still goes through the codec, so the two roles can share nothing. A `tamper` function sees each encoded
message and says what arrives instead: that is how tests play Eve.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from distribution.delivery import TagSource
from qkd.errors import LocalProtocolError, PeerUnreachable, QkdError
from qkd.exchange.engine import Engine
from qkd.exchange.steps import Role

A = TypeVar("A")
B = TypeVar("B")

Tamper = Callable[[Role, bytes], list[bytes]]


def untouched(_sender: Role, encoded: bytes) -> list[bytes]:
    """The honest line: every message arrives once, as it was sent."""
    return [encoded]


@dataclass(slots=True, eq=False)
class _End:
    """One end of the line: the engine, its tags, and what has arrived and is not read yet."""

    role: Role
    engine: Engine[Any]
    source: TagSource | None
    inbox: deque[bytes] = field(default_factory=deque)


class MemoryLine:
    """Runs two engines against each other until both are done.

    Args:
        alice, bob: the engines; alice_tags, bob_tags: their own streams (None when a role needs none).
        tamper: what the line does to a message.
    """

    def __init__(
        self,
        alice: Engine[A],
        bob: Engine[B],
        alice_tags: TagSource | None = None,
        bob_tags: TagSource | None = None,
        tamper: Tamper = untouched,
    ) -> None:
        self._alice, self._bob = _End(Role.ALICE, alice, alice_tags), _End(Role.BOB, bob, bob_tags)
        self._tamper = tamper

    def run(self) -> None:
        """Move messages until nothing moves any more.

        Raises:
            PeerUnreachable: a role still waits, but nothing is on its way (a message was lost).
            QkdError: what a role raised; the other engine has then been told.
        """
        failure: QkdError | None = None
        moved = True
        while moved:
            at_alice, at_bob = self._serve(self._alice, self._bob), self._serve(self._bob, self._alice)
            moved = at_alice or at_bob
            failure = failure or self._alice.engine.error or self._bob.engine.error
        if failure:
            raise failure
        for end in (self._alice, self._bob):
            if not end.engine.done:
                raise PeerUnreachable(f"{end.role.value} waits for a message that never comes")

    def _serve(self, end: _End, peer: _End) -> bool:
        """One thing that can be done for a role; False when there is none."""
        engine = end.engine
        moved = self._post(end, peer)
        try:
            if engine.done:
                return moved
            if engine.wants_tags is not None:
                if end.source is None:
                    raise LocalProtocolError(f"{end.role.value} asks for tags and has no source of them")
                engine.feed(end.source.until(engine.wants_tags.until_ps))
                return True
            if end.inbox:
                engine.receive(end.inbox.popleft())
                return True
        except QkdError:
            self._post(end, peer)
            if engine.error is None:
                raise
            return True
        return moved

    def _post(self, end: _End, peer: _End) -> bool:
        outgoing = end.engine.take_outgoing()
        for encoded in outgoing:
            peer.inbox.extend(self._tamper(end.role, encoded))
        return bool(outgoing)
