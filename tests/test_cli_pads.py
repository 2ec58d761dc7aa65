"""`qkd pads`, and the life of a link in a configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from qkd.errors import (
    ClockSetBack,
)
from qkd.exchange.steps import Role
from qkd.kms.secretfile import create_secret_file
from qkd.kms.store import KeyStore
from qkd.node import config as configuration
from qkd.node.config import EXAMPLE, resolved
from qkd.node.service import open_store
from tests.life import ONE_EACH, TAG_EPS


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A station's configuration whose store has been made."""
    path = tmp_path / "alice.toml"
    path.write_text(EXAMPLE)
    create_secret_file(tmp_path / "pre-shared", 2048)
    open_store(configuration.load(path)).close()
    return path


def qkd(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


class TestCommand:
    def test_status(self, config: Path) -> None:
        with open_store(configuration.load(config)) as store:
            store.begin_block(1e-14, ONE_EACH)
            store.take_pad(Role.ALICE, TAG_EPS)
        done = qkd("pads", "status", config, "--json")
        assert done.exit_code == 0, done.output
        told = json.loads(done.stdout)
        assert told["schema"] == "qkd.pads.status.v1"
        assert told["pads"]["alice"] == {"ordinary": 30, "locked": 32, "used": 1}
        assert told["pads"]["bob"] == {"ordinary": 31, "locked": 32, "used": 0}
        assert (told["runs_begun"], told["tags_sent"], told["blocks"]) == (1, 1, 0)
        assert told["eps_budget"] == 1e-6
        assert told["eps_spent"] == pytest.approx(1e-14 + TAG_EPS)
        assert 9e7 < told["runs_left"] < 1e8
        text = qkd("pads", "status", config).stdout
        assert "30 left, 32 locked, 1 used" in text

    def test_release(self, config: Path) -> None:
        done = qkd("pads", "release", config, "--json")
        assert json.loads(done.stdout)["released"] == {"alice": 32, "bob": 32}
        status = json.loads(qkd("pads", "status", config, "--json").stdout)
        assert status["pads"]["alice"] == {"ordinary": 63, "locked": 0, "used": 0}
        assert "0 pads released" in qkd("pads", "release", config).stdout

    def test_accept_clock(self, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        loaded = configuration.load(config)
        with KeyStore.open(
            config.parent / "alice.db",
            (config.parent / "alice.master").read_bytes(),
            role=Role.ALICE,
            clock=lambda: 4_000_000_000,
        ):
            pass
        refused = qkd("pads", "status", config)
        assert refused.exit_code == 1
        assert "clock was set back" in refused.stderr
        assert "qkd pads accept-clock" in refused.stderr
        with pytest.raises(ClockSetBack):
            open_store(loaded)
        assert qkd("pads", "accept-clock", config).exit_code == 0
        assert qkd("pads", "status", config).exit_code == 0

    def test_a_running_node_and_no_store(self, config: Path) -> None:
        with open_store(configuration.load(config)):
            busy = qkd("pads", "release", config)
        assert (busy.exit_code, "in use by another process" in busy.stderr) == (1, True)
        (config.parent / "alice.db").unlink()
        none = qkd("pads", "status", config)
        assert (none.exit_code, "there is no key store" in none.stderr) == (1, True)
        assert not (config.parent / "alice.db").exists()

    @pytest.mark.parametrize(
        ("line", "word"),
        [
            ("eps_budget = 0.0", "store.eps_budget = 0.0"),
            ("eps_budget = 1e-15", "does not cover one block"),
            ("eps_budget = 1e-6\npad_reserve = -1", "store.pad_reserve = -1"),
            ("eps_budget = 1e-6\nclock_tolerance_s = -1.0", "store.clock_tolerance_s"),
            ("eps_budget = 1e-6\npad_reserves = 1", "store.pad_reserves"),
        ],
    )
    def test_bad_configurations(self, tmp_path: Path, line: str, word: str) -> None:
        text = EXAMPLE.replace("eps_budget = 1e-6 ", line + " ")
        (tmp_path / "bad.toml").write_text(
            "\n".join(row for row in text.splitlines() if not row.startswith("pad_reserve = 32"))
        )
        done = qkd("config", "check", tmp_path / "bad.toml")
        assert (done.exit_code, word in done.stderr) == (2, True), done.output

    def test_the_example_shows_its_life_and_reads_back(self, config: Path) -> None:
        loaded = configuration.load(config)
        assert (loaded.store.eps_budget, loaded.store.pad_reserve, loaded.session.eps_sec) == (1e-6, 32, 1e-14)
        again = config.with_name("again.toml")
        again.write_text(resolved(loaded))
        assert configuration.load(again) == loaded
