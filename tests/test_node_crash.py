"""Either node killed at any moment: no key delivered twice, none left on one side only, and the session goes on."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from qkd.errors import QkdError
from qkd.kms.key import unit_ids
from tests.live import SAE, LiveLink

KILLS = 20
SEED = 20261123


class Applications(threading.Thread):
    """Two SAEs that fetch keys from both ends all the time, and keep a record of what they were given."""

    def __init__(self, link: LiveLink, master: str, slave: str) -> None:
        super().__init__(daemon=True)
        self._link, self._master, self._slave = link, master, slave
        self.given: list[tuple[str, bytes]] = []
        self.fetched: list[tuple[str, bytes]] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                self._once()
            except QkdError:
                time.sleep(0.1)
            time.sleep(0.02)

    def _once(self) -> None:
        keys = self._link.client(self._master).enc_keys(SAE[self._slave], number=2)
        self.given += [(k.key_id, k.key) for k in keys]
        for _attempt in range(100):
            try:
                got = self._link.client(self._slave).dec_keys(SAE[self._master], [k.key_id for k in keys])
                self.fetched += [(k.key_id, k.key) for k in got]
                return
            except QkdError:
                # The slave's node may be down, or its answer was lost when it was killed.
                if self.stopping.wait(0.2):
                    return


def free_units(path: Path) -> set[str]:
    """IDs of the units that no application has asked for, cut or in whole blocks."""
    with sqlite3.connect(path) as database:
        free = {row[0] for row in database.execute("SELECT unit_id FROM units WHERE key_id IS NULL")}
        for whole in database.execute("SELECT session_id, number, units FROM blocks WHERE state = 'whole'"):
            free.update(unit_ids(*whole))
        return free


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_twenty_kills(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    link = LiveLink(tmp_path, session="block_bits = 20000\nepoch_s = 0.1")
    link.start_source()
    for role in ("alice", "bob"):
        link.start_node(role)
    link.wait_for("alice", lambda e: e.get("event") == "block", 60)
    applications = [Applications(link, "alice", "bob"), Applications(link, "bob", "alice")]
    for application in applications:
        application.start()
    try:
        for _ in range(KILLS):
            time.sleep(rng.uniform(0.0, 2.0))
            victim = rng.choice(["alice", "bob"])
            link.kill(victim)
            time.sleep(rng.uniform(0.0, 0.5))
            link.start_node(victim)
        # Both are up now: the session goes on with the next block.
        seen = {role: len(link.blocks(role)) for role in ("alice", "bob")}
        last = max((b["block"] for role in seen for b in link.blocks(role)), default=-1)
        for role in seen:
            link.wait_for(role, lambda e: e.get("event") == "block" and e["block"] > last, 90)
        time.sleep(6)  # what was interrupted is taken back in the background
    finally:
        for application in applications:
            application.stopping.set()
        for application in applications:
            application.join(30)
        link.stop()
    for application in applications:
        given, fetched = dict(application.given), dict(application.fetched)
        assert len(given) == len(application.given), "a key was given to the master twice"
        assert len(fetched) == len(application.fetched), "a key was given to the slave twice"
        assert len(set(given.values())) == len(given), "two keys are the same"
        assert fetched.keys() <= given.keys()
        assert all(given[key_id] == key for key_id, key in fetched.items()), "the two ends hold different keys"
        assert len(fetched) > KILLS
    # After a clean stop the stores differ at most by the last block, which the next handshake settles.
    assert_same_units(link)


def assert_same_units(link: LiveLink) -> None:
    numbers = {}
    for role in ("alice", "bob"):
        with sqlite3.connect(link.folder / f"{role}.db") as database:
            numbers[role] = {r[0] for r in database.execute("SELECT number FROM blocks WHERE state <> 'prepared'")}
    common = numbers["alice"] & numbers["bob"]
    assert len(numbers["alice"] ^ numbers["bob"]) <= 1
    assert common
    alice, bob = free_units(link.folder / "alice.db"), free_units(link.folder / "bob.db")
    if numbers["alice"] == numbers["bob"]:
        assert alice == bob
