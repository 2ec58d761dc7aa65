"""Where a station's tags come from, as its configuration says: short forms, drivers, options, and what is reported."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distribution.health import SourceHealth
from distribution.inbox import TagInbox
from distribution.tags import TimeTags
from qkd.errors import FeedError, ParameterError, PeerUnreachable, QkdError, TagFormatError
from qkd.exchange.handshake import SessionStart
from qkd.exchange.steps import Role
from qkd.exchange.transcript import Transcript
from qkd.node.config import EXAMPLE, load, resolved
from qkd.node.stationloop import StationLoop
from qkd.randomness import FixedBits
from qkd.session import SessionParameters
from qkd.testing import MemoryVault
from qkd.transport.tcp import Line
from tests.commands import assert_refused, qkd
from tests.live import LiveLink

FEED = '[feed]\naddress = "127.0.0.1:5001"'


def written(folder: Path, feed: str) -> Path:
    path = folder / "station.toml"
    text = EXAMPLE[: EXAMPLE.index("[feed]")] + feed + "\n\n" + EXAMPLE[EXAMPLE.index("[line]") :]
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("feed", "driver", "options"),
    [
        (FEED, "network", {"address": "127.0.0.1:5001"}),
        ('[feed]\nfile = "a.ts"', "replay", {"file": "a.ts", "pace": 0.0}),
        (
            '[feed]\ndriver = "readevents"\n[feed.options]\ncommand = ["readevents7", "-a", "1"]\nlegacy = true',
            "readevents",
            {"command": ["readevents7", "-a", "1"], "legacy": True},
        ),
        ('[feed]\ndriver = "acme"\noptions = { channel = { h = 1, v = 2 } }', "acme", {"channel": {"h": 1, "v": 2}}),
    ],
)
def test_feeds_name_a_driver_and_survive_being_shown(
    tmp_path: Path, feed: str, driver: str, options: dict[str, object]
) -> None:
    config = load(written(tmp_path, feed))
    assert config.feed.source == (driver, options)
    (tmp_path / "again.toml").write_text(resolved(config))
    assert load(tmp_path / "again.toml").feed == config.feed


@pytest.mark.parametrize(
    ("feed", "words"),
    [
        ("[feed]", "an address, a file or a driver"),
        ('[feed]\naddress = "a:1"\ndriver = "replay"', "an address, a file or a driver"),
        ('[feed]\nfile = "a.ts"\n[feed.options]\npace = 1', "belong to a driver"),
        ('[feed]\ndriver = "replay"\npace = 1', "feed.pace"),
        ("[feed]\ndriver = 7", "driver"),
    ],
)
def test_feeds_that_say_too_much_or_too_little_are_refused(tmp_path: Path, feed: str, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        load(written(tmp_path, feed))


def test_config_check_knows_the_drivers_and_their_options(tmp_path: Path) -> None:
    good = written(tmp_path, '[feed]\ndriver = "simulator"\n[feed.options]\nscenario = "metro"\nseed = 1')
    done = qkd("config", "check", str(good))
    assert (done.returncode, "driver simulator" in done.stderr) == (0, True)
    typo = written(tmp_path, '[feed]\ndriver = "simulator"\n[feed.options]\nscenari = "metro"')
    assert_refused(qkd("config", "check", str(typo)), 2, "scenari", "it knows: intercept_fraction")
    foreign = written(tmp_path, '[feed]\ndriver = "acme"')
    assert_refused(qkd("config", "check", str(foreign)), 2, "'acme'", "there are: network")


def test_doctor_lists_the_drivers_and_whose_they_are() -> None:
    findings = json.loads(qkd("doctor", "--json").stdout)["findings"]
    (drivers,) = [row for row in findings if row["check"] == "tag source drivers"]
    assert drivers["well"], drivers
    for name in ("network", "readevents", "replay", "simulator"):
        assert f"{name} (entangled-qkd " in drivers["seen"]


def feed_by_driver(link: LiveLink, role: str, feed: str) -> None:
    path = link.folder / f"{role}.toml"
    text = path.read_text()
    path.write_text(text[: text.index("[feed]")] + feed + "\n" + text[text.index("[line]") :])


def test_two_nodes_with_simulated_taggers_make_keys_and_report_their_feeds(tmp_path: Path) -> None:
    """No source process: each node opens its own half of one simulated link by driver and seed."""
    link = LiveLink(tmp_path)
    feed = '[feed]\ndriver = "simulator"\n[feed.options]\nscenario = "metro"\nseed = 5\nseconds = 3.0\npace = 2.0'
    for role in ("alice", "bob"):
        feed_by_driver(link, role, feed)
    try:
        link.start_node("alice")
        link.start_node("bob")
        blocks = [link.wait_for(role, lambda e: e.get("event") == "block", 120) for role in ("alice", "bob")]
        assert [block["block"] for block in blocks] == [0, 0]
        assert blocks[0]["secret_bits"] == blocks[1]["secret_bits"] > 0
        ready = link.wait_for("alice", lambda e: e.get("event") == "ready", 5)
        assert ready["simulated"] is True
        for role in ("alice", "bob"):
            health = link.wait_for(role, lambda e: e.get("event") == "ended", 60)["feed"]
            assert set(health) == set(SourceHealth.__dataclass_fields__)
            assert health["events"] > 100_000
            assert (health["gaps"], health["late"], health["dropped"]) == (0, 0, 0)
    finally:
        link.stop()


class NoLine:
    """A line that nothing is sent over."""

    round_trip_s = 0.0

    async def close(self) -> None:
        """Nothing to hang up."""


def loop_of(
    kind: type[StationLoop], role: Role, source: Any, aborts: list[QkdError], reopen: Any = None
) -> StationLoop:
    return kind(
        role=role,
        params=SessionParameters(),
        vault=MemoryVault(bytes(64)),
        secrets=FixedBits("loop"),
        source=source,
        reopen=reopen,
        on_block=lambda _: None,
        on_abort=aborts.append,
        on_line=lambda _state, _why: None,
    )


@pytest.mark.parametrize(("role", "order"), [(Role.ALICE, ["skip", "handshake"]), (Role.BOB, ["handshake", "skip"])])
def test_alices_stream_reaches_back_to_before_bobs_first_tag(role: Role, order: list[str]) -> None:
    """Her backlog is dropped before the handshake and his after it, whatever the scheduler does in between."""
    calls: list[str] = []

    class Source(TagInbox):
        simulated = False

        def skip_backlog(self) -> None:
            calls.append("skip")

    class Loop(StationLoop):
        async def _shake_hands(self, line: Line) -> Any:
            calls.append("handshake")
            return SessionStart(bytes(16), 0, False), Transcript()

        def _block(self, *_: object) -> Any:
            raise PeerUnreachable("far enough")

    loop = loop_of(Loop, role, Source("a test's tagger"), [])
    with pytest.raises(PeerUnreachable, match="far enough"):
        asyncio.run(loop.serve_line(NoLine()))  # type: ignore[arg-type]
    assert calls == order


@pytest.mark.parametrize("fault", [FeedError("the tagger was unplugged"), TagFormatError("words in no order")])
def test_a_stream_that_broke_is_opened_anew_and_its_counters_are_kept(fault: QkdError) -> None:
    """Either way of breaking: the source is closed, opened again, and what both gave adds up in the report."""

    class Source(TagInbox):
        simulated = False

        def __init__(self, events: int) -> None:
            super().__init__("a test's tagger")
            self.put(TimeTags(np.arange(events, dtype=np.int64), np.zeros(events, np.uint8)), events)
            self.until(events)

    class Loop(StationLoop):
        async def serve_line(self, line: Line) -> bool:
            raise fault

    first, aborts = Source(5), list[QkdError]()
    loop = loop_of(Loop, Role.ALICE, first, aborts, lambda: Source(7))
    assert asyncio.run(loop.attempt(NoLine())) is False  # type: ignore[arg-type]
    assert aborts == [fault]
    assert first.closed
    assert loop.source is not first
    assert loop.feed_health == SourceHealth(events=12, reconnects=1)
