"""The engine: messages in, messages out, tags in; errors mark it finished and reach the peer."""

from __future__ import annotations

import pytest

from distribution.tags import EMPTY, TagChunk
from qkd.errors import LocalProtocolError, PeerUnreachable, QberTooHigh, RemoteProtocolError
from qkd.exchange.codec import decode, encode
from qkd.exchange.engine import Engine
from qkd.exchange.messages import Abort, MoreDetections, Tag
from qkd.exchange.steps import Role, Steps, receive, send, tags_until
from qkd.exchange.transcript import Transcript
from qkd.transport.memory import MemoryLine


def asks() -> Steps[int]:
    yield from send(Tag(7, b"question"))
    answer = yield from receive(Tag)
    return answer.pad


def answers() -> Steps[int]:
    question = yield from receive(Tag)
    yield from send(Tag(question.pad + 1, b"answer"))
    return question.pad


def test_two_roles_converse_and_hold_the_same_transcript() -> None:
    at_alice, at_bob = Transcript(), Transcript()
    alice, bob = Engine(Role.ALICE, asks(), at_alice), Engine(Role.BOB, answers(), at_bob)
    MemoryLine(alice, bob).run()
    assert (alice.result, bob.result) == (8, 7)
    assert at_alice.recorded() == at_bob.recorded()
    assert at_alice.recorded()[:1] == b"A"


def test_a_finished_engine_accepts_nothing() -> None:
    engine = Engine(Role.BOB, answers(), Transcript())
    engine.receive(encode(Tag(1, b"")))
    with pytest.raises(LocalProtocolError):
        engine.receive(encode(Tag(1, b"")))


def test_an_unexpected_kind_is_the_peers_fault_and_the_peer_is_told() -> None:
    engine = Engine(Role.BOB, answers(), Transcript())
    with pytest.raises(RemoteProtocolError, match="expected Tag, got MoreDetections"):
        engine.receive(encode(MoreDetections()))
    (told,) = engine.take_outgoing()
    assert isinstance(decode(told), Abort)
    with pytest.raises(RemoteProtocolError):
        _ = engine.result


def test_the_peers_abort_arrives_as_the_same_class_with_its_numbers() -> None:
    def gives_up() -> Steps[None]:
        yield from receive(Tag)
        raise QberTooHigh(0.25, 0.24, 0.11)

    alice, bob = Engine(Role.ALICE, asks(), Transcript()), Engine(Role.BOB, gives_up(), Transcript())
    with pytest.raises(QberTooHigh):
        MemoryLine(alice, bob).run()
    assert isinstance(alice.error, QberTooHigh)
    assert alice.error.qber_z == 0.25


def test_a_foreign_abort_reason_is_a_protocol_error() -> None:
    engine = Engine(Role.ALICE, asks(), Transcript())
    with pytest.raises(RemoteProtocolError, match="SystemExit"):
        engine.receive(encode(Abort("SystemExit", "boo", {})))


def test_a_lost_message_is_noticed_not_waited_for() -> None:
    alice, bob = Engine(Role.ALICE, asks(), Transcript()), Engine(Role.BOB, answers(), Transcript())
    with pytest.raises(PeerUnreachable):
        MemoryLine(alice, bob, tamper=lambda _sender, _message: []).run()


def test_tags_are_asked_for_and_fed() -> None:
    def looks() -> Steps[bool]:
        chunk = yield from tags_until(1000)
        return chunk.ended

    engine = Engine(Role.BOB, looks(), Transcript())
    assert engine.wants_tags is not None
    assert engine.wants_tags.until_ps == 1000
    with pytest.raises(RemoteProtocolError, match="out of turn"):
        engine.receive(encode(MoreDetections()))

    other = Engine(Role.BOB, looks(), Transcript())
    other.feed(TagChunk(EMPTY, ended=True))
    assert other.result is True
    with pytest.raises(LocalProtocolError):
        other.feed(TagChunk(EMPTY, ended=True))


def test_a_running_role_has_no_result() -> None:
    with pytest.raises(LocalProtocolError):
        _ = Engine(Role.BOB, answers(), Transcript()).result


def test_a_forged_abort_sets_nothing_but_the_figures_of_its_error() -> None:
    """Not Python's own attributes, not the hint, no infinities; and its words cannot steer a screen."""
    hostile = dict.fromkeys(("__class__", "args", "__traceback__", "hint", "invented"), 1.0)
    numbers = {**hostile, "qber_z": 0.25, "qber_x": float("inf"), "limit": float("nan")}
    engine = Engine(Role.BOB, answers(), Transcript())
    with pytest.raises(QberTooHigh) as caught:
        engine.receive(encode(Abort("QberTooHigh", "\x1b[2Jgone\n\u202e" + "x" * 100_000, numbers)))
    error = caught.value
    assert vars(error) == {"qber_z": 0.25, "qber_x": None, "limit": None, "hint": ""}
    assert str(error).startswith("\\x1b[2Jgone\\x0a\\u202ex")
    assert len(str(error)) < 500


def test_an_abort_of_no_class_of_ours_is_a_breach_of_the_rules() -> None:
    engine = Engine(Role.BOB, answers(), Transcript())
    with pytest.raises(RemoteProtocolError, match=r"the peer gave up: SystemExit: words"):
        engine.receive(encode(Abort("SystemExit", "words", {"code": 0.0})))
