"""Where a block's time goes: a clock that knows which stage is at work, and the engines run under it as they are.

`watched` puts itself between `qkd.bbm92` and its stages for as long as it lasts, so what is timed is the protocol that
runs on a line and no copy of it. Stages do not overlap: time in the key store is the store's, whoever called it, and
what no stage claims (codec, transcript, engines, the line) is MESSAGES. The stages therefore add up to the block.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, cast

from qkd import bbm92
from qkd.block import Vault
from qkd.link import Link


class Stage(StrEnum):
    """What a block's time is booked to."""

    SIFTING = "sifting"
    ESTIMATION = "estimation"
    RECONCILIATION = "reconciliation"
    VERIFICATION = "verification"
    AMPLIFICATION = "amplification"
    TAGS = "tags"
    STORE = "store"
    MESSAGES = "messages"


# The modules as `qkd.bbm92` names them, whose functions `alice`, `bob` and `join` are the stages.
_MODULES = {
    "sifting": Stage.SIFTING,
    "estimation": Stage.ESTIMATION,
    "frames": Stage.RECONCILIATION,
    "verification": Stage.VERIFICATION,
    "distillation": Stage.AMPLIFICATION,
    "confirmation": Stage.TAGS,
}

AnySteps = Generator[Any, Any, Any]


class StageClock:
    """Seconds by stage, each instant booked once.

    Attributes:
        cpu_s: processor time of this process, all its threads. wall_s: what a clock on the wall says.
    """

    def __init__(self) -> None:
        self.cpu_s = dict.fromkeys(Stage, 0.0)
        self.wall_s = dict.fromkeys(Stage, 0.0)
        self._stack = [Stage.MESSAGES]
        self.start()

    def start(self) -> None:
        """Book nothing of what went before."""
        self._cpu_s, self._wall_s = time.process_time(), time.perf_counter()

    def enter(self, stage: Stage) -> None:
        """What follows is of this stage."""
        self._book()
        self._stack.append(stage)

    def leave(self) -> None:
        """Back to the stage before."""
        self._book()
        self._stack.pop()

    def stop(self) -> None:
        """Book the time up to now."""
        self._book()

    def _book(self) -> None:
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        stage = self._stack[-1]
        self.cpu_s[stage] += cpu_s - self._cpu_s
        self.wall_s[stage] += wall_s - self._wall_s
        self._cpu_s, self._wall_s = cpu_s, wall_s


@contextmanager
def watched(link: Link, clock: StageClock) -> Iterator[None]:
    """While this lasts, blocks of `link` book the time of their stages."""
    places = [
        (getattr(bbm92, module), name, stage)
        for module, stage in _MODULES.items()
        for name in ("alice", "bob", "join")
        if hasattr(getattr(bbm92, module), name)
    ]
    before = [getattr(module, name) for module, name, _ in places]
    for (module, name, stage), function in zip(places, before, strict=True):
        setattr(module, name, (_timed_call if name == "join" else _timed_steps)(clock, stage, function))
    vaults = link.alice.vault, link.bob.vault
    link.alice.vault, link.bob.vault = (cast(Vault, WatchedVault(vault, clock)) for vault in vaults)
    try:
        yield
    finally:
        link.alice.vault, link.bob.vault = vaults
        for (module, name, _), function in zip(places, before, strict=True):
            setattr(module, name, function)


def _timed_call(clock: StageClock, stage: Stage, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        clock.enter(stage)
        try:
            return function(*arguments)
        finally:
            clock.leave()

    return call


def _timed_steps(clock: StageClock, stage: Stage, role: Callable[..., AnySteps]) -> Callable[..., AnySteps]:
    def steps(*arguments: Any) -> AnySteps:
        inner = role(*arguments)
        reply = None
        while True:
            clock.enter(stage)
            try:
                request = inner.send(reply)
            except StopIteration as stop:
                return stop.value
            finally:
                clock.leave()
            reply = yield request

    return steps


class WatchedVault:
    """A key store whose time is booked to STORE, whatever is asked of it."""

    def __init__(self, vault: Vault, clock: StageClock) -> None:
        self._vault = vault
        self._clock = clock

    def __getattr__(self, name: str) -> Any:
        self._clock.enter(Stage.STORE)
        try:
            value = getattr(self._vault, name)
        finally:
            self._clock.leave()
        return _timed_call(self._clock, Stage.STORE, value) if callable(value) else value
