"""Runs one role: messages in, messages out, tags in, a result at the end. No I/O, no clock, no threads.

    engine = Engine(Role.BOB, role, transcript)
    engine.take_outgoing()      encoded messages to send now
    engine.receive(encoded)     one message from the peer
    engine.wants_tags           a TagsUntil when the role waits for its own tags, else None
    engine.feed(chunk)          the answer to it
    engine.done, engine.result  the role's return value, or the error it raised

When a role raises one of our errors, the engine queues an Abort for the peer and raises; afterwards it accepts
nothing. An Abort from the peer raises the same class here. Any exception that is not a QkdError is a bug of ours.
"""

from __future__ import annotations

import inspect
import math
from typing import Any, Generic, TypeVar

from distribution.tags import TagChunk
from qkd import errors
from qkd.errors import LocalProtocolError, ProtocolAborted, QkdError, RemoteProtocolError
from qkd.exchange.codec import decode, encode
from qkd.exchange.messages import Abort, Message, printable
from qkd.exchange.steps import WAIT, Reply, Request, Role, Steps, TagsUntil
from qkd.exchange.transcript import Transcript

R = TypeVar("R")


class Engine(Generic[R]):
    """One role being run.

    Args:
        role: who we are.
        steps: the role's generator, not yet started.
        transcript: where every message is recorded; the role's authentication stage holds the same object.
    """

    def __init__(self, role: Role, steps: Steps[R], transcript: Transcript) -> None:
        self.role = role
        self.transcript = transcript
        self._steps = steps
        self._outgoing: list[bytes] = []
        self._wants: TagsUntil | None = None
        self._result: R | None = None
        self.done = False
        self.error: QkdError | None = None
        self._advance(None)

    @property
    def wants_tags(self) -> TagsUntil | None:
        """What the role waits for, when it waits for its own tags."""
        return self._wants

    @property
    def result(self) -> R:
        """The role's return value; raises the role's error, or LocalProtocolError when it still runs."""
        if self.error is not None:
            raise self.error
        if not self.done:
            raise LocalProtocolError("the role is still running")
        return self._result  # type: ignore[return-value]

    def take_outgoing(self) -> list[bytes]:
        """Encoded messages to send, in order; each is handed out once."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def receive(self, encoded: bytes) -> None:
        """One message from the peer.

        Raises:
            RemoteProtocolError: it makes no sense here. ProtocolAborted: either side gave this block up.
            LocalProtocolError: the engine has finished.
        """
        if self.done:
            raise LocalProtocolError("this engine has finished; start a new one for the next block")
        try:
            message = decode(encoded)
            if self._wants is not None:
                raise RemoteProtocolError(f"the peer sent {type(message).__name__} out of turn")
            if type(message) is Abort:
                raise _as_error(message)
        except QkdError as error:
            self._fail(error, tell_peer=not isinstance(error, ProtocolAborted))
        self.transcript.add(self.role.peer, encoded)
        self._advance(message)

    def feed(self, chunk: TagChunk) -> None:
        """The tags that the role asked for."""
        if self._wants is None:
            raise LocalProtocolError("nobody asked for tags")
        self._wants = None
        self._advance(chunk)

    def _advance(self, reply: Reply) -> None:
        try:
            request: Request = self._steps.send(reply)
            # Whether something is of an abstract class is dear to find out when it is not, and most often it is WAIT.
            while request is not WAIT and isinstance(request, Message):
                encoded = encode(request)
                self.transcript.add(self.role, encoded)
                self._outgoing.append(encoded)
                request = self._steps.send(None)
        except StopIteration as stop:
            self._result = stop.value
            self.done = True
            return
        except QkdError as error:
            self._fail(error, tell_peer=True)
        if isinstance(request, TagsUntil):
            self._wants = request

    def _fail(self, error: QkdError, *, tell_peer: bool) -> None:
        self.error = error
        self.done = True
        self._steps.close()
        if tell_peer:
            self._outgoing.append(encode(_as_abort(error)))
        raise error


def _as_abort(error: QkdError) -> Abort:
    numbers: dict[str, Any] = {k: v for k, v in vars(error).items() if isinstance(v, int | float)}
    return Abort(type(error).__name__, str(error), numbers)


_ABORTS: dict[str, type[ProtocolAborted]] = {
    kind.__name__: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, ProtocolAborted)
}


def _as_error(message: Abort) -> QkdError:
    """The peer's abort as an exception of the same class, where it is one that a peer may raise here.

    Nobody vouches for an abort: words are shown without what could steer a screen, and of the figures only those that
    errors of this class have are kept; one that is missing, infinite or no number is None.
    """
    kind, text = _ABORTS.get(message.reason), printable(message.text)
    if kind is None:
        return RemoteProtocolError(f"the peer gave up: {printable(message.reason)}: {text}")
    error = kind.__new__(kind)
    QkdError.__init__(error, f"{text} (the peer's word)")
    for name in _figures(kind):
        value = message.numbers.get(name, math.nan)
        setattr(error, name, value if math.isfinite(value) else None)
    return error


def _figures(kind: type[ProtocolAborted]) -> list[str]:
    """The figures that errors of a class carry: the numbers among its constructor's arguments."""
    if "__init__" not in vars(kind):
        return []
    return [name for name, of in inspect.get_annotations(kind.__init__).items() if _is_figure(name, of)]


def _is_figure(name: str, annotation: object) -> bool:
    return name != "return" and str(annotation).split(" ")[0] in ("int", "float")
