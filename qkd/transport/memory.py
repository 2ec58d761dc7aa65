"""Two engines in one process, joined by a line that anybody may stand on.

Every message still goes through the codec, so the two roles can share nothing. A `tamper` function sees each encoded
message and says what arrives instead: that is how tests play Eve.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeVar

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
        self._engines: dict[Role, Engine[A] | Engine[B]] = {Role.ALICE: alice, Role.BOB: bob}
        self._tags = {Role.ALICE: alice_tags, Role.BOB: bob_tags}
        self._tamper = tamper
        self._inbox: dict[Role, deque[bytes]] = {Role.ALICE: deque(), Role.BOB: deque()}

    def run(self) -> None:
        """Move messages until nothing moves any more.

        Raises:
            PeerUnreachable: a role still waits, but nothing is on its way (a message was lost).
            QkdError: what a role raised; the other engine has then been told.
        """
        failure: QkdError | None = None
        while any([self._serve(role) for role in Role]):
            failure = failure or self._first_error()
        if failure or (failure := self._first_error()):
            raise failure
        for role, engine in self._engines.items():
            if not engine.done:
                raise PeerUnreachable(f"{role.value} waits for a message that never comes")

    def _first_error(self) -> QkdError | None:
        return next((e.error for e in self._engines.values() if e.error is not None), None)

    def _serve(self, role: Role) -> bool:
        """One thing that can be done for a role; False when there is none."""
        engine = self._engines[role]
        moved = self._post(role)
        try:
            if engine.done:
                return moved
            if engine.wants_tags is not None:
                source = self._tags[role]
                if source is None:
                    raise LocalProtocolError(f"{role.value} asks for tags and has no source of them")
                engine.feed(source.until(engine.wants_tags.until_ps))
                return True
            if self._inbox[role]:
                engine.receive(self._inbox[role].popleft())
                return True
        except QkdError:
            self._post(role)
            if engine.error is None:
                raise
            return True
        return moved

    def _post(self, role: Role) -> bool:
        outgoing = self._engines[role].take_outgoing()
        for encoded in outgoing:
            self._inbox[role.peer].extend(self._tamper(role, encoded))
        return bool(outgoing)
