"""A real link whose budget covers three runs: it stops before the fourth, and goes on serving keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import qkd
from tests.live import SAE, LiveLink


@pytest.mark.slow
def test_a_spent_budget_ends_the_blocks_and_not_the_keys(tmp_path: Path) -> None:
    link = LiveLink(tmp_path)
    for role in ("alice", "bob"):
        path = tmp_path / f"{role}.toml"
        path.write_text(path.read_text().replace("[api]", "eps_budget = 3.5e-10\n[api]"))
    link.start_source()
    link.start_node("alice")
    link.start_node("bob")
    try:
        stopped = link.wait_for("alice", lambda e: e.get("reason") == "EpsilonBudgetSpent", 120)
        assert stopped["budget"] == 3.5e-10 < stopped["spent"] + stopped["wanted"]
        ended = link.wait_for("alice", lambda e: e.get("event") == "ended", 10)
        blocks = link.blocks("alice")  # on a busy machine a run may be lost with its line, and is charged all the same
        assert 1 <= len(blocks) <= 3
        assert (ended["eps_budget"], ended["runs_begun"], ended["runs_left"]) == (3.5e-10, 3, 0)
        block = blocks[-1]
        assert 1e-10 < block["eps_spent"] <= ended["eps_spent"] < 3.01e-10
        assert block["pads"]["alice"]["locked"] == 32
        keys = link.client("alice").enc_keys(SAE["bob"], number=2)
        fetched = link.client("bob").dec_keys(SAE["alice"], [key.key_id for key in keys])
        assert [key.key for key in fetched] == [key.key for key in keys]
        assert (tmp_path / "pre-shared.alice.used").exists()
    finally:
        link.stop()
    status = qkd("pads", "status", "alice.toml", cwd=tmp_path)
    assert status.returncode == 0, status.stderr
    assert f"{len(blocks)} committed of 3 begun" in status.stdout
    (tmp_path / "alice.db").unlink()  # somebody starts over with the old secret
    again = qkd("node", "alice.toml", cwd=tmp_path)
    assert again.returncode == 1
    assert "another store of alice already" in again.stderr
    assert "Traceback" not in again.stderr
