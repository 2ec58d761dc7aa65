"""The life of a link: what its ledger adds up and what stops it; locked pads, clocks set back, secrets used twice."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from qkd import confirmation
from qkd.errors import (
    AuthenticationError,
    ClockSetBack,
    EpsilonBudgetSpent,
    KeyExhausted,
    KeyNotFound,
    ParameterError,
    PeerUnreachable,
)
from qkd.exchange import auth
from qkd.exchange.codec import decode
from qkd.exchange.messages import Tag
from qkd.exchange.steps import Role
from qkd.kms.ledger import Account
from qkd.kms.store import KeyStore
from qkd.session import SessionParameters
from tests.life import NOW, ONE_EACH, TAG_EPS, block, opened, with_secret
from tests.small_link import PARAMS, small_link


class TestLedger:
    def test_every_run_and_every_tag_is_charged_whatever_became_of_it(self, tmp_path: Path) -> None:
        with with_secret(tmp_path) as store:
            for _ in range(3):
                store.begin_block(1e-10, ONE_EACH)
            store.prepare(block(0))
            store.commit(0)
            store.begin_block(1e-10, ONE_EACH)
            store.take_pad(Role.ALICE, TAG_EPS)
            for number in (0, 1):
                store.peer_pad(Role.BOB, number, 2 * TAG_EPS)
            with pytest.raises(AuthenticationError):
                store.peer_pad(Role.BOB, 1, TAG_EPS)  # no guess was had
        with opened(tmp_path) as store:
            account = store.account()
        # The third run had 1e-20 more than it was charged at its beginning.
        assert (account.runs, account.tags_sent, account.tags_checked) == (4, 1, 2)
        assert account.eps_runs == pytest.approx(4e-10 + 1e-20, rel=1e-15)
        assert account.eps_tags == pytest.approx(5 * TAG_EPS, rel=1e-15)

    def test_sums_never_fall_short(self, tmp_path: Path) -> None:
        """Ten numbers that floating point would lose beside a large one; the exact sum by fractions."""
        with with_secret(tmp_path, eps_budget=1.0) as store:
            charged = [0.25, *[1e-18] * 10]
            for eps in charged:
                store.begin_block(eps, ONE_EACH)
            assert sum(charged) == 0.25
            assert Fraction(store.account().eps_runs) >= sum(map(Fraction, charged))
            assert math.isclose(store.account().eps_runs, 0.25, rel_tol=1e-14)

    def test_the_budget_stops_the_block_that_would_exceed_it(self, tmp_path: Path) -> None:
        with with_secret(tmp_path, eps_budget=1e-6) as store:
            for _ in range(3):
                store.begin_block(3e-7, ONE_EACH)
            with pytest.raises(EpsilonBudgetSpent) as stopped:
                store.begin_block(3e-7, ONE_EACH)
            assert stopped.value.spent == pytest.approx(9e-7)
            assert (stopped.value.wanted, stopped.value.budget) == (3e-7, 1e-6)
            assert "new pre-shared secret" in stopped.value.hint
            assert store.account().runs == 3  # a refused run costs nothing
            store.begin_block(5e-8, ONE_EACH)
        with opened(tmp_path, eps_budget=1e-6) as store, pytest.raises(EpsilonBudgetSpent):
            store.begin_block(3e-7, ONE_EACH)  # not even after a restart
        with opened(tmp_path, eps_budget=2e-6) as store:
            store.begin_block(3e-7, ONE_EACH)  # a person raised it

    def test_a_block_that_cost_more_than_it_was_charged_is_held_against_the_budget(self, tmp_path: Path) -> None:
        with with_secret(tmp_path, eps_budget=1e-6) as store:
            store.begin_block(1e-7, ONE_EACH)
            with pytest.raises(EpsilonBudgetSpent):
                store.prepare(block(0, eps=2e-6))
            assert (store.prepared, store.committed) == (-1, -1)

    def test_keys_in_store_outlive_the_budget(self, tmp_path: Path) -> None:
        with with_secret(tmp_path, eps_budget=1e-10 + 2e-20) as store:
            store.begin_block(1e-10, ONE_EACH)
            store.prepare(block(0))
            store.commit(0)
            with pytest.raises(EpsilonBudgetSpent):
                store.begin_block(1e-10, ONE_EACH)
            (assignment,) = store.reserve("a", ("b",), 1, 256)
            (key,) = store.deliver_reserved([assignment.key_id])
            assert key.eps_total == pytest.approx(1e-10)

    def test_one_transaction_with_the_pad(self, tmp_path: Path) -> None:
        """When the charge cannot be written, the pad is not handed out, and the other way round."""
        with with_secret(tmp_path) as store:
            for eps in (-1.0, 2.0, math.nan):
                with pytest.raises(ParameterError):
                    store.take_pad(Role.ALICE, eps)
                with pytest.raises(ParameterError):
                    store.peer_pad(Role.BOB, 0, eps)
            assert store.pads_left(Role.ALICE) == store.pads_left(Role.BOB) == 63
            assert store.take_pad(Role.ALICE, TAG_EPS)[0] == 0

    @pytest.mark.parametrize("budget", [0.0, -1e-6, 1.5, math.nan])
    def test_impossible_budgets(self, tmp_path: Path, budget: float) -> None:
        with pytest.raises(ParameterError, match="eps_budget"):
            opened(tmp_path, eps_budget=budget)
        opened(tmp_path).close()  # no lock was left behind

    def test_runs_left(self) -> None:
        account = Account(runs=1, tags_sent=0, tags_checked=0, eps_runs=2e-7, eps_tags=0.0, budget=1e-6)
        assert account.runs_left(3e-10) == 2666  # 8e-7 / 3e-10 = 2666.7
        assert replace(account, budget=1e-7).runs_left(1e-10) == 0


class TestReserve:
    def test_locked_pads_stop_a_block_before_it_begins(self, tmp_path: Path) -> None:
        with with_secret(tmp_path, pad_reserve=32) as store:
            assert (store.pad_stock(Role.ALICE).ordinary, store.pad_stock(Role.ALICE).locked) == (31, 32)
            for _ in range(30):
                store.take_pad(Role.ALICE, TAG_EPS)
            with pytest.raises(KeyExhausted, match="alice has 1 pads left for tags and 2 are needed; 32 more") as few:
                store.begin_block(1e-10, {Role.ALICE: 2, Role.BOB: 1})
            assert "qkd pads release" in few.value.hint
            assert store.account().runs == 0
            store.begin_block(1e-10, ONE_EACH)

    def test_no_tag_takes_a_locked_pad(self, tmp_path: Path) -> None:
        with with_secret(tmp_path, pad_reserve=60) as store:
            for number in range(3):
                store.take_pad(Role.ALICE, TAG_EPS)
                store.peer_pad(Role.BOB, 5 + number, TAG_EPS)
            for call in (
                lambda: store.take_pad(Role.ALICE, TAG_EPS),
                lambda: store.peer_pad(Role.BOB, 20, TAG_EPS),
                lambda: store.begin_block(1e-10, ONE_EACH),
            ):
                with pytest.raises(KeyExhausted, match="locked reserve"):
                    call()
            assert store.pads_left(Role.ALICE) == store.pads_left(Role.BOB) == 60

    def test_release_holds_over_a_restart_and_ends_with_the_refill(self, tmp_path: Path) -> None:
        with with_secret(tmp_path, pad_reserve=60) as store:
            for _ in range(3):
                store.take_pad(Role.ALICE, TAG_EPS)
            assert store.release_reserve() == {Role.ALICE: 60, Role.BOB: 60}
            assert store.release_reserve() == {Role.ALICE: 0, Role.BOB: 0}
        with opened(tmp_path, pad_reserve=60) as store:
            store.take_pad(Role.ALICE, TAG_EPS)
            store.prepare(block(0, pads=5))
            store.commit(0)
            assert store.pad_stock(Role.ALICE).locked == 0  # 64 pads: not yet twice the reserve
            store.prepare(block(1, pads=60))
            store.commit(1)
            stock = store.pad_stock(Role.ALICE)
            assert (stock.ordinary, stock.locked, stock.used) == (64, 60, 4)

    def test_a_reserve_of_nothing_and_an_impossible_one(self, tmp_path: Path) -> None:
        with with_secret(tmp_path, pad_reserve=0) as store:
            assert store.pad_stock(Role.BOB).locked == 0
        with pytest.raises(ParameterError, match="pad_reserve = -1"):
            opened(tmp_path, pad_reserve=-1)

    def test_forged_tags_drain_one_pad_each_and_stop_at_the_reserve(self, tmp_path: Path) -> None:
        """Eve names any pad she likes: 300 forged messages leave the reserve alone, and each cost one pad."""
        with with_secret(tmp_path, pad_reserve=32) as store:
            refused = 0
            for n in range(300):
                before = store.pads_left(Role.BOB)
                with pytest.raises((AuthenticationError, KeyExhausted)):
                    _check(store, Tag(n * 5 % 63, bytes(16)))
                burnt = before - store.pads_left(Role.BOB)
                assert burnt in (0, 1)
                refused += not burnt
            assert store.pads_left(Role.BOB) == 32
            assert refused == 300 - 31
            assert store.account().tags_checked == 31


def _check(store: KeyStore, tag: Tag) -> None:
    context = auth.TagContext(session_id=bytes(16), block=0, parameters=b"", software=b"")
    steps = auth.check_tag(store, store.role, context, auth.Transcript(), auth.Stage.TRANSCRIPT)
    next(steps)
    steps.send(tag)


class TestClock:
    def test_a_clock_set_back_is_named_and_nothing_is_given_out(self, tmp_path: Path) -> None:
        clock = SimpleNamespace(now=NOW)
        with with_secret(tmp_path, Role.BOB, clock=lambda: clock.now) as bob:
            bob.prepare(block(0))
            bob.commit(0)
            clock.now = NOW + 1000
            (mine,) = bob.reserve("b", ("a",), 1, 256)
            clock.now = NOW + 1000 - 300
            bob.reserve("b", ("a",), 1, 256)  # within the tolerance
            clock.now = NOW + 1000 - 301
            before = bob.unit_census()
            for call in (
                lambda: bob.reserve("b", ("a",), 1, 256),
                lambda: bob.deliver_assigned([mine.key_id], "a"),
                lambda: bob.prepare(block(1)),
            ):
                with pytest.raises(ClockSetBack, match="301 s less") as back:
                    call()
            assert (back.value.now_s, back.value.seen_s) == (NOW + 699, NOW + 1000)
            assert (bob.unit_census(), bob.prepared) == (before, -1)
            clock.now = NOW + 900
            bob.deliver_reserved([mine.key_id])
            with pytest.raises(KeyNotFound):
                bob.deliver_reserved([mine.key_id])

    def test_a_store_is_not_opened_by_a_clock_set_back(self, tmp_path: Path) -> None:
        with_secret(tmp_path).close()
        for early in (NOW - 301, 0, -5):
            with pytest.raises(ClockSetBack, match="set back"):
                opened(tmp_path, clock=lambda early=early: early)
        opened(tmp_path, clock=lambda: NOW - 299).close()
        opened(tmp_path, clock=lambda: NOW - 1000, clock_tolerance_s=1000).close()
        with pytest.raises(ParameterError, match="clock_tolerance_s"):
            opened(tmp_path, clock_tolerance_s=-1)

    def test_a_person_may_accept_the_clock_and_pads_stay_used(self, tmp_path: Path) -> None:
        with with_secret(tmp_path) as store:
            store.take_pad(Role.ALICE, TAG_EPS)
        opened(tmp_path, clock=lambda: NOW - 10**6, accept_clock=True).close()
        with opened(tmp_path, clock=lambda: NOW - 10**6) as store:
            assert store.take_pad(Role.ALICE, TAG_EPS)[0] == 1


class TestWholeBlocks:
    def test_both_ledgers_agree_after_honest_blocks(self, tmp_path: Path) -> None:
        with with_secret(tmp_path) as alice, with_secret(tmp_path, Role.BOB) as bob:
            link, _, _ = small_link(vaults=(alice, bob))  # type: ignore[arg-type]
            outcome, _ = next(link.blocks())
            one, two = alice.account(), bob.account()
            assert (one.runs, one.tags_sent, one.tags_checked) == (1, 2, 1)
            assert (two.runs, two.tags_sent, two.tags_checked) == (1, 1, 2)
            assert one.eps_runs == two.eps_runs == confirmation.run_epsilon(PARAMS)
            report = outcome.block.report
            assert report.eps_sec + report.eps_cor <= one.eps_runs <= 1.01 * report.eps_sec
            # The report bounds its tags before the last two messages lengthen the transcript.
            assert 0 < one.eps_tags == two.eps_tags <= report.eps_auth

    def test_a_link_stops_before_the_block_that_its_budget_does_not_cover(self, tmp_path: Path) -> None:
        budget = 1.5 * confirmation.run_epsilon(PARAMS)
        with with_secret(tmp_path, eps_budget=budget) as alice, with_secret(tmp_path, Role.BOB) as bob:
            link, _, _ = small_link(vaults=(alice, bob))  # type: ignore[arg-type]
            blocks = link.blocks()
            next(blocks)
            said = len(link.transcripts[Role.ALICE])
            with pytest.raises(EpsilonBudgetSpent):
                next(blocks)
            assert len(link.transcripts[Role.ALICE]) == 0 < said  # not one word
            assert (alice.committed, bob.committed) == (0, 0)
            (assignment,) = alice.reserve("a", ("b",), 1, 256)
            bob.assign([assignment])
            (key,) = alice.deliver_reserved([assignment.key_id])
            assert bob.deliver_assigned([assignment.key_id], "b")[0].key == key.key

    def test_pads_of_a_failed_block_are_never_used_again(self, tmp_path: Path) -> None:
        """Eve swallows each of the three tags in turn; all pads that ever travelled bear different numbers."""
        used: list[tuple[Role, int]] = []
        with with_secret(tmp_path) as alice, with_secret(tmp_path, Role.BOB) as bob:
            for target in (0, 1, 2, 99):
                seen = iter(range(100))

                def tamper(role: Role, encoded: bytes, seen: Any = seen, target: int = target) -> list[bytes]:
                    message = decode(encoded)
                    if not isinstance(message, Tag):
                        return [encoded]
                    used.append((role, message.pad))
                    return [] if next(seen) == target else [encoded]

                link, _, _ = small_link(tamper=tamper, vaults=(alice, bob))  # type: ignore[arg-type]
                if target == 99:
                    next(link.blocks())
                else:
                    with pytest.raises(PeerUnreachable):
                        next(link.blocks())
            assert len(used) == len(set(used)) == 1 + 2 + 3 + 4  # the last session settles the third's block
            assert (alice.committed, bob.committed) == (1, 1)
            assert alice.account().runs == bob.account().runs == 4


def test_the_charge_of_a_run_covers_its_frames() -> None:
    params = SessionParameters(verify_bits=32, block_bits=4096, least_block_bits=1000)
    assert confirmation.run_epsilon(params) == params.eps_sec + 3 * 2.0**-32
