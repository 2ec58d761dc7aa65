"""From strings to frames, through correction and verification, and back: what fails leaves, the rest adds up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from qkd import verification
from qkd.errors import KeyTooShort, ParameterError, RemoteProtocolError, VerificationFailed
from qkd.estimation import Estimate
from qkd.exchange.codec import decode, encode
from qkd.exchange.engine import Engine
from qkd.exchange.messages import CascadeStart, ReconciliationStart
from qkd.exchange.steps import Role, Steps
from qkd.exchange.transcript import Transcript
from qkd.randomness import FixedBits, SecretBits
from qkd.reconciliation import cascade, frames
from qkd.reconciliation.choice import MOST_REASON_CHARACTERS, Method
from qkd.reconciliation.frame import Frame, Reconciled
from qkd.reconciliation.frames import Verified
from qkd.reconciliation.ledger import LeakModel
from qkd.reconciliation.methods import METHODS
from qkd.session import SessionParameters
from qkd.transport.memory import MemoryLine, Tamper, untouched
from tests.overlooking import FAST, Places, overlooking, unknowing

FRAME_BITS = 1000


@pytest.fixture(autouse=True)
def _short_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, Method.CASCADE_FAST, overlooking({}, FRAME_BITS))


@dataclass
class Block:
    """Both stations' strings, and what the sample said of them."""

    alice: Estimate
    bob: Estimate

    @classmethod
    def of(cls, n_z: int, n_x: int, qber: float = 0.03, seed: int = 1) -> Block:
        rng = np.random.default_rng(seed)
        strings = [rng.integers(0, 2, n, dtype=np.uint8) for n in (n_z, n_x)]
        wrong = [bits ^ (rng.random(bits.size) < qber).astype(np.uint8) for bits in strings]
        return cls(*(Estimate(z, x, 200, 200, round(200 * qber), round(200 * qber)) for z, x in (strings, wrong)))

    def errors(self, basis: str, stop: int | None = None) -> int:
        return int(np.count_nonzero((getattr(self.alice, basis) != getattr(self.bob, basis))[:stop]))


def stages_alice(estimate: Estimate, params: SessionParameters, round_trip_s: float, seconds: float) -> Steps[Verified]:
    corrected = yield from frames.alice(estimate, params, FixedBits("a"), round_trip_s, seconds)
    done = corrected.done
    verdict = yield from verification.alice(done.strings, done.errors, params.verify_bits, FixedBits("v"))
    return frames.join(corrected, verdict, params.leak_model)


def stages_bob(estimate: Estimate, params: SessionParameters) -> Steps[Verified]:
    corrected = yield from frames.bob(estimate, params, FixedBits("b"))
    verdict = yield from verification.bob(corrected.done.strings, corrected.before, params.verify_bits)
    return frames.join(corrected, verdict, params.leak_model)


def run(
    block: Block,
    params: SessionParameters | None = None,
    tamper: Tamper = untouched,
    *,
    round_trip_s: float = 0.0,
    seconds: float = 60.0,
) -> tuple[Verified, Verified]:
    params = params or SessionParameters(reconciliation=Method.CASCADE_FAST)
    alice = Engine(Role.ALICE, stages_alice(block.alice, params, round_trip_s, seconds), Transcript())
    bob = Engine(Role.BOB, stages_bob(block.bob, params), Transcript())
    MemoryLine(alice, bob, tamper=tamper).run()
    return alice.result, bob.result


# ------------------------------------------------------------------------------------------------- all is well


@pytest.mark.parametrize(("n_z", "n_x"), [(1000, 1000), (4000, 3999), (2001, 17), (3, 2500)])
def test_strings_come_back_whole_but_for_what_the_framing_leaves_over(n_z: int, n_x: int) -> None:
    block = Block.of(n_z, n_x)
    for verified, own in zip(run(block), (block.alice, block.bob), strict=True):
        for name, string in (("z", verified.z), ("x", verified.x)):
            n = getattr(own, name).size
            count = -(-n // FRAME_BITS)
            assert (string.frames, string.failed_frames, string.revealed) == (count, 0, 0)
            assert string.dropped == n % count
            assert (string.bits == getattr(block.alice, name)[: n - n % count]).all()
            assert string.errors == block.errors(name, n - n % count)
        assert verified.eps_cor == (verified.z.frames + verified.x.frames) * 2.0**-64


def test_the_ledger_of_each_frame_is_what_is_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept on the way by the hook: the sum over Z's frames and over X's."""
    ledgers = []

    def bob(given: Sequence[Frame], _secrets: SecretBits) -> Steps[Reconciled]:
        done = yield from cascade.bob(given, FAST)
        ledgers.append(done.ledger)
        return done

    monkeypatch.setitem(METHODS, Method.CASCADE_FAST, replace(METHODS[Method.CASCADE_FAST], bob=bob))
    alice, _ = run(Block.of(3000, 2000))
    assert [alice.z.leak_bits, alice.x.leak_bits] == [ledgers[0].alice[:3].sum(), ledgers[0].alice[3:].sum()]
    assert (alice.z.verify_bits, alice.x.verify_bits) == (3 * 64, 2 * 64)


@pytest.mark.parametrize("model", list(LeakModel))
def test_leak_models_charge_what_they_say(model: LeakModel) -> None:
    block, params = Block.of(2000, 1000), SessionParameters(reconciliation=Method.CASCADE_FAST)
    usual, _ = run(block, params)
    ours, theirs = run(block, replace(params, leak_model=model))
    assert [s.leak_bits for s in (ours.z, ours.x)] == [s.leak_bits for s in (theirs.z, theirs.x)]
    factor = 2 if model is LeakModel.BOTH_DIRECTIONS else 1
    assert ours.z.leak_bits == factor * usual.z.leak_bits
    # Bob says of each frame of 1000 bits: equal or not, and one of 1001 counts, which is 10 bits.
    answer = 0 if model is LeakModel.ERROR_PATTERN_PUBLIC else 11
    assert (ours.z.verify_bits, ours.x.verify_bits) == (2 * (64 + answer), 64 + answer)


# --------------------------------------------------------------------------------------------- frames that fail


@pytest.mark.parametrize("knows", [True, False], ids=["alice-knows", "only-bob-knows"])
@pytest.mark.parametrize(
    "places",
    [{1: (5, 900)}, {3: (0, 999)}, {0: (1, 2), 4: (7, 8, 9, 10)}, {0: (1, 2), 1: (0, 1), 2: (3,)}],
    ids=["in-z", "in-x", "in-both", "all-of-z"],
)
def test_failed_frames_leave_the_key_and_their_errors_are_counted(
    monkeypatch: pytest.MonkeyPatch, places: Places, knows: bool
) -> None:
    """Three frames of Z, two of X; the verdict, the bits and every count by the true strings."""
    block = Block.of(3000, 2000)
    usual, _ = run(block)
    method = overlooking(places, FRAME_BITS)
    monkeypatch.setitem(METHODS, Method.CASCADE_FAST, method if knows else unknowing(method))
    for verified in run(block):
        for name, string, numbers in (("z", verified.z, range(3)), ("x", verified.x, range(3, 5))):
            kept = [i - numbers[0] for i in numbers if i not in places]
            alice, bob = (getattr(e, name).reshape(-1, FRAME_BITS) for e in (block.alice, block.bob))
            assert (string.bits == alice[kept].reshape(-1)).all()
            assert string.errors == np.count_nonzero(alice[kept] != bob[kept])
            assert string.errors + string.revealed_errors == block.errors(name)
            assert string.failed_frames == len(numbers) - len(kept)
            assert string.revealed == FRAME_BITS * string.failed_frames
            assert string.verify_bits == 64 * len(kept)
        for name in ("z", "x"):
            string, before = getattr(verified, name), getattr(usual, name)
            assert (string.leak_bits < before.leak_bits) == bool(string.failed_frames)
        assert verified.eps_cor == 5 * 2.0**-64


def test_a_failed_frame_costs_its_own_ledger_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frame 1 of Z runs with two errors more than before; what the other frames disclosed does not change."""
    block = Block.of(3000, 1000)
    whole = {}
    for places in ({1: (5, 900)}, {2: (5, 900)}, {1: (5, 900), 2: (5, 900)}):
        monkeypatch.setitem(METHODS, Method.CASCADE_FAST, overlooking(places, FRAME_BITS))
        whole[tuple(places)] = run(block)[0].z.leak_bits
    frame_0 = whole[1, 2]
    frame_2, frame_1 = whole[(1,)] - frame_0, whole[(2,)] - frame_0
    monkeypatch.setitem(METHODS, Method.CASCADE_FAST, overlooking({}, FRAME_BITS))
    assert run(block)[0].z.leak_bits == frame_0 + frame_1 + frame_2


def test_without_a_frame_there_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, Method.CASCADE_FAST, overlooking({0: (1, 2), 1: (3, 4)}, FRAME_BITS))
    with pytest.raises(VerificationFailed, match="all 2 corrected frames"):
        run(Block.of(1000, 1000))


def test_a_peer_whose_counts_are_not_his_corrections_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """He spoils a bit after the correction: one more or one fewer than the parities showed."""

    def bob(given: Sequence[Frame], _secrets: SecretBits) -> Steps[Reconciled]:
        done = yield from cascade.bob(given, FAST)
        spoilt = done.strings[0].copy()
        spoilt[0] ^= 1
        return replace(done, strings=(spoilt, *done.strings[1:]))

    monkeypatch.setitem(METHODS, Method.CASCADE_FAST, replace(METHODS[Method.CASCADE_FAST], bob=bob))
    with pytest.raises(RemoteProtocolError, match="bits of frame 0 and now says"):
        run(Block.of(1000, 1000))


# ------------------------------------------------------------------------------------------------------ the method


def test_alice_names_the_method_and_both_keep_why() -> None:
    said = []

    def listen(sender: Role, encoded: bytes) -> list[bytes]:
        said.append((sender, decode(encoded)))
        return [encoded]

    params = SessionParameters(reconciliation_seconds=1.0)
    ours, theirs = run(Block.of(1000, 1000), params, listen)
    sender, start = said[0]
    assert sender is Role.ALICE
    assert isinstance(start, ReconciliationStart)
    assert isinstance(said[1][1], CascadeStart)
    assert ours.choice == theirs.choice
    assert start == ReconciliationStart(ours.choice.method.value, ours.choice.reason)
    assert "2000 bits" in start.reason


@pytest.mark.parametrize("method", list(METHODS), ids=lambda method: method.value)
def test_a_method_may_be_forced(method: Method) -> None:
    for verified in run(Block.of(3000, 2500), SessionParameters(reconciliation=method)):
        assert verified.choice.method is method
        assert "parameters" in verified.choice.reason


def test_strings_too_short_for_a_forced_method_end_the_block() -> None:
    """The codes take 2048 bits at least; Cascade takes any number."""
    with pytest.raises(KeyTooShort, match="5400 sifted bits give 0 secret bits; it takes about 5530 or more"):
        run(Block.of(3000, 2000), SessionParameters(reconciliation=Method.LDPC_BLIND))


def test_the_round_trip_is_what_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """With both codes and Cascade installed (the roles of the codes stand in for them), 200 ms prefers the codes."""
    for method in (Method.LDPC_BLIND, Method.LDPC_ONE_WAY):
        monkeypatch.setitem(METHODS, method, METHODS[Method.CASCADE_FAST])
    block = Block.of(20_000, 20_000)
    for round_trip_s, expected in ((0.0, "cascade/"), (0.2, "ldpc/blind")):
        for verified in run(block, SessionParameters(), round_trip_s=round_trip_s):
            assert verified.choice.method.value.startswith(expected)
    assert "6 rounds at 200 ms" in verified.choice.reason


def test_error_correction_must_keep_up_with_detection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session allows 5 s; a block that took 2 s to detect gets 2 s, one that took an hour gets 5 s."""
    monkeypatch.setitem(METHODS, Method.LDPC_BLIND, METHODS[Method.CASCADE_FAST])
    block = Block.of(20_000, 20_000)
    for seconds, words, method in (
        (2.0, "finishes in 2 s", Method.LDPC_BLIND),
        (3600.0, "in 5 s", Method.CASCADE_FAST),
    ):
        for verified in run(block, SessionParameters(), round_trip_s=0.01, seconds=seconds):
            assert verified.choice.method is method
            assert words in verified.choice.reason


def _replaced(**fields: str) -> Callable[[Role, bytes], list[bytes]]:
    def tamper(_sender: Role, encoded: bytes) -> list[bytes]:
        message = decode(encoded)
        if isinstance(message, ReconciliationStart):
            return [encode(ReconciliationStart(**{"method": message.method, "reason": message.reason} | fields))]
        return [encoded]

    return tamper


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"method": "cascade/slow"}, "does not know"),
        ({"method": ""}, "does not know"),
        ({"method": "auto"}, "chooses auto"),
        ({"reason": "two\nlines"}, "plain text"),
        ({"reason": "\x1b[2Jgone"}, "plain text"),
        ({"reason": "weil es schöner ist"}, "plain text"),
        ({"reason": "x" * (MOST_REASON_CHARACTERS + 1)}, "plain text"),
    ],
)
def test_bob_refuses_what_is_no_choice(fields: dict[str, str], words: str) -> None:
    for reconciliation in (Method.AUTO, Method.CASCADE_FAST):
        with pytest.raises(RemoteProtocolError, match=words):
            run(Block.of(100, 100), SessionParameters(reconciliation=reconciliation), _replaced(**fields))


def test_bob_refuses_a_method_that_is_not_agreed_or_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    params = SessionParameters(reconciliation=Method.CASCADE_FAST)
    monkeypatch.setitem(METHODS, Method.LDPC_BLIND, METHODS[Method.CASCADE_FAST])
    with pytest.raises(RemoteProtocolError, match="chooses ldpc/blind, agreed is cascade/fast"):
        run(Block.of(100, 100), params, _replaced(method="ldpc/blind"))
    monkeypatch.delitem(METHODS, Method.LDPC_BLIND)
    with pytest.raises(RemoteProtocolError, match="chooses ldpc/blind"):
        run(Block.of(100, 100), SessionParameters(), _replaced(method="ldpc/blind"))


def test_a_forced_method_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(METHODS, Method.CASCADE_FAST)
    params = SessionParameters(reconciliation=Method.CASCADE_FAST)
    steps = frames.alice(Block.of(100, 100).alice, params, FixedBits("a"), 0.0, 1.0)
    with pytest.raises(ParameterError, match="no error correction called cascade/fast"):
        next(steps)


@pytest.mark.parametrize("name", ["cascade", "CASCADE/FAST", "ldpc"])
def test_an_unknown_method_is_no_parameter(name: str) -> None:
    with pytest.raises(ValueError, match="valid Method"):
        Method(name)
