"""The waits after runs without a key, with a clock that is set by hand; and what an attacker gets for his trouble."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from distribution.inbox import TagInbox
from distribution.tags import TimeTags
from qkd.errors import EpsilonBudgetSpent, KeyExhausted, PeerUnreachable, QkdError
from qkd.exchange.handshake import SessionStart
from qkd.exchange.steps import Role
from qkd.exchange.transcript import Transcript
from qkd.node.backoff import BackOff
from qkd.node.stationloop import StationLoop
from qkd.randomness import FixedBits
from qkd.session import SessionParameters
from qkd.testing import MemoryVault

DAY_S = 86_400


@dataclass
class Clock:
    """Seconds, moved by hand."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_waits_double_up_to_their_bounds_and_end_with_a_block() -> None:
    clock = Clock(1000.0)
    backoff = BackOff(clock)
    assert backoff.wait_s == 0
    assert [backoff.lost(pads=True) for _ in range(14)] == [2.0**n for n in range(12)] + [3600.0] * 2
    clock.now += 3599
    assert backoff.wait_s == 1
    backoff.gained()
    assert backoff.wait_s == 0
    assert backoff.lost(pads=True) == 1.0
    backoff.gained()
    waits = [backoff.lost(pads=False) for _ in range(10)]
    assert waits == [0.0625 * 2.0**n for n in range(8)] + [10.0] * 2


def test_a_shorter_wait_does_not_cut_a_longer_one() -> None:
    clock = Clock()
    backoff = BackOff(clock)
    for _ in range(5):
        backoff.lost(pads=True)
    assert backoff.lost(pads=False) == 16.0
    clock.now = 16.0
    assert backoff.wait_s == 0


def test_losses_without_end_do_not_overflow() -> None:
    backoff = BackOff(Clock(), tag_losses=10**6, run_losses=10**6)
    assert backoff.lost(pads=True) == 3600.0


@pytest.mark.parametrize(("pads", "most"), [(True, 12 + 24), (False, 8 + 8640)])
def test_losses_a_day_are_bounded(pads: bool, most: int) -> None:
    """The figures of docs/authentication.md: an attacker who spoils every block at once after the wait."""
    clock, losses = Clock(), 0
    backoff = BackOff(clock)
    while clock.now < DAY_S:
        backoff.lost(pads=pads)
        losses += 1
        clock.now += backoff.wait_s
    assert most - 4 <= losses <= most


class _Line:
    round_trip_s = 0.0
    closed = 0

    async def close(self) -> None:
        self.closed += 1


class _Source(TagInbox):
    simulated = False

    def skip_backlog(self) -> None:
        """Nothing is old."""


class _Loop(StationLoop):
    """A station whose lines are cut at the first tag of every block, or as `cut` says."""

    cut: Any = None

    async def _shake_hands(self, line: Any) -> Any:
        return SessionStart(bytes(16), 0, False), Transcript()

    def _block(self, *arguments: Any) -> Any:
        super()._block(*arguments)
        self.cut(self.vault)
        raise PeerUnreachable("cut")


def _loop(cut: Any, vault: MemoryVault, clock: Clock, aborts: list[QkdError]) -> _Loop:
    loop = _Loop(
        role=Role.ALICE,
        params=SessionParameters(),
        vault=vault,
        secrets=FixedBits("loop"),
        source=_Source("a test's tagger"),
        reopen=None,  # type: ignore[arg-type]
        on_block=lambda _: None,
        on_abort=aborts.append,
        on_line=lambda _state, _why: None,
        backoff=BackOff(clock),
    )
    loop.source.put(TimeTags(np.arange(5, dtype=np.int64), np.zeros(5, np.uint8)), 5)  # type: ignore[attr-defined]
    loop.cut = cut
    return loop


def _attempt(loop: _Loop) -> tuple[bool, _Line]:
    line = _Line()
    return asyncio.run(loop.attempt(line)), line  # type: ignore[arg-type]


def test_a_loop_cut_at_its_tags_waits_and_touches_no_pad_meanwhile() -> None:
    vault, clock, aborts = MemoryVault(bytes(16 * 40)), Clock(), list[QkdError]()
    loop = _loop(lambda v: v.take_pad(Role.ALICE, 0.0), vault, clock, aborts)
    left = vault.pads_left(Role.ALICE)
    assert _attempt(loop)[0] is False
    assert loop.backoff.wait_s == 1.0
    for _ in range(50):  # Bob calls and calls
        ended, line = _attempt(loop)
        assert not ended
        assert line.closed
    assert vault.pads_left(Role.ALICE) == left - 1
    clock.now = 1.0
    _attempt(loop)
    assert (vault.pads_left(Role.ALICE), loop.backoff.wait_s) == (left - 2, 2.0)


def test_a_loop_without_key_waits_shortly() -> None:
    vault, clock = MemoryVault(bytes(16 * 40)), Clock()
    loop = _loop(lambda _: None, vault, clock, [])
    _attempt(loop)
    assert (loop.backoff.tag_losses, loop.backoff.run_losses) == (0, 1)
    assert vault.eps_spent > 0  # the run was charged although it came to nothing


def test_without_pads_the_station_ends_making_keys_before_a_block_is_begun() -> None:
    vault, aborts = MemoryVault(bytes(16 * 3)), list[QkdError]()  # two hash keys and one pad of Alice's
    loop = _loop(lambda _: pytest.fail("a block was begun"), vault, Clock(), aborts)
    assert _attempt(loop)[0] is True
    assert [type(error) for error in aborts] == [KeyExhausted]
    assert vault.eps_spent == 0


def test_with_the_budget_spent_the_station_ends_making_keys_before_a_block_is_begun() -> None:
    class Spent(MemoryVault):
        def begin_block(self, eps: float, tags: Any) -> None:
            raise EpsilonBudgetSpent(1e-6, eps, 1e-6)

    aborts: list[QkdError] = []
    loop = _loop(lambda _: pytest.fail("a block was begun"), Spent(bytes(16 * 40)), Clock(), aborts)
    assert _attempt(loop)[0] is True
    assert [type(error) for error in aborts] == [EpsilonBudgetSpent]
