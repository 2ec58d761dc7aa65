"""The life of a link: what its ledger adds up and what stops it; locked pads, clocks set back, secrets used twice."""

from __future__ import annotations

import ast
import errno
import hashlib
import json
import math
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from qkd import confirmation
from qkd.block import SecretBlock
from qkd.errors import (
    AuthenticationError,
    ClockSetBack,
    EpsilonBudgetSpent,
    KeyExhausted,
    KeyNotFound,
    KeyStoreError,
    ParameterError,
    PeerUnreachable,
    QkdError,
)
from qkd.exchange import auth
from qkd.exchange.codec import decode
from qkd.exchange.messages import Hello, Tag
from qkd.exchange.steps import Role
from qkd.kms.ledger import Account
from qkd.kms.preshared import deal_out
from qkd.kms.secretfile import create_secret_file
from qkd.kms.store import KeyStore
from qkd.node import config as configuration
from qkd.node.config import EXAMPLE, resolved
from qkd.node.service import open_store
from qkd.session import BlockReport, SessionParameters
from qkd.testing import MemoryVault, cut, drop, flip
from tests.small_link import PARAMS, small_link

MASTER = bytes(range(32))
SECRET = hashlib.shake_256(b"life").digest(16 * (2 + 2 * 63))
NOW = 1_800_000_000
TAG_EPS = 2.0**-90
ONE_EACH = dict.fromkeys(Role, 1)


def opened(folder: Path, role: Role = Role.ALICE, **options: Any) -> KeyStore:
    options = {"clock": lambda: NOW} | options
    return KeyStore.open(folder / f"{role.value}.db", MASTER, role=role, **options)


def with_secret(folder: Path, role: Role = Role.ALICE, **options: Any) -> KeyStore:
    store = opened(folder, role, **options)
    store.install_pre_shared(SECRET)
    return store


def block(number: int, *, pads: int = 0, eps: float = 1e-10) -> SecretBlock:
    bits = 10 * 256 + 128 * 2 * pads
    key = hashlib.shake_256(b"life %d" % number).digest(bits // 8)
    report = BlockReport(block=number, eps_sec=eps, eps_cor=1e-20, label="test")
    return SecretBlock(number, bytes(16), key, bits, pads, pads, report, True)


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


class TestPreSharedFile:
    @pytest.fixture
    def secret(self, tmp_path: Path) -> Path:
        create_secret_file(tmp_path / "pre-shared", 2048)
        return tmp_path / "pre-shared"

    def test_one_store_of_each_role(self, tmp_path: Path, secret: Path) -> None:
        for role in Role:
            with opened(tmp_path, role) as store:
                deal_out(secret, store)
                deal_out(secret, store)
            with opened(tmp_path, role) as store:
                deal_out(secret, store)
                assert store.pre_shared_installed
            assert (tmp_path / f"pre-shared.{role.value}.used").stat().st_mode & 0o077 == 0

    def test_a_second_store_is_refused_and_takes_nothing(self, tmp_path: Path, secret: Path) -> None:
        with opened(tmp_path) as store:
            deal_out(secret, store)
            store.take_pad(Role.ALICE, TAG_EPS)
        (tmp_path / "alice.db").unlink()
        with opened(tmp_path) as store:
            with pytest.raises(KeyStoreError, match="into another store of alice already") as used:
                deal_out(secret, store)
            assert "qkd pki psk" in used.value.hint
            assert not store.pre_shared_installed

    def test_a_crash_between_marker_and_dealing_locks_nobody_out(self, tmp_path: Path, secret: Path) -> None:
        class Crash(Exception): ...

        class Dying:
            """A store whose process dies when the secret is to be dealt."""

            def __init__(self, store: KeyStore) -> None:
                self.role, self.identity, self.pre_shared_installed = store.role, store.identity, False

            def install_pre_shared(self, _data: bytes) -> None:
                raise Crash

        with opened(tmp_path) as store, pytest.raises(Crash):
            deal_out(secret, Dying(store))  # type: ignore[arg-type]
        assert (tmp_path / "pre-shared.alice.used").exists()
        with opened(tmp_path) as store:
            deal_out(secret, store)
            assert store.pads_left(Role.ALICE) == 63

    def test_the_file_is_needed_once(self, tmp_path: Path, secret: Path) -> None:
        with opened(tmp_path) as store:
            deal_out(secret, store)
        for file in tmp_path.glob("pre-shared*"):
            file.unlink()
        with opened(tmp_path) as store:
            deal_out(secret, store)
            assert store.pads_left(Role.ALICE) == 63
        with opened(tmp_path, Role.BOB) as other, pytest.raises(ParameterError, match="no such file"):
            deal_out(secret, other)

    def test_a_secret_for_the_next_store_is_not_marked_by_this_one(self, tmp_path: Path, secret: Path) -> None:
        create_secret_file(tmp_path / "next", 2048)
        with opened(tmp_path) as store:
            deal_out(secret, store)
            with pytest.raises(KeyStoreError, match="another pre-shared secret"):
                deal_out(tmp_path / "next", store)
        assert not (tmp_path / "next.alice.used").exists()

    def test_a_marker_lost_is_put_back(self, tmp_path: Path, secret: Path) -> None:
        with opened(tmp_path) as store:
            deal_out(secret, store)
            (tmp_path / "pre-shared.alice.used").unlink()
            deal_out(secret, store)
            assert (tmp_path / "pre-shared.alice.used").read_text().strip() == store.identity

    def test_a_folder_that_cannot_be_written_to(
        self, tmp_path: Path, secret: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As on a read-only stick; root, who runs some of these tests, could write to any other folder."""

        def refuse(path: Path, _target: Path) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

        monkeypatch.setattr("qkd.kms.secretfile.os.link", refuse)
        with opened(tmp_path) as store:
            with pytest.raises(ParameterError, match=r"cannot note beside .* read-only file system") as refused:
                deal_out(secret, store)
            assert "folder that this node may write to" in refused.value.hint
            assert not store.pre_shared_installed

    def test_a_marker_that_is_not_to_be_read(self, tmp_path: Path, secret: Path) -> None:
        (tmp_path / "pre-shared.alice.used").write_bytes(b"\xff\xfe\xfa")
        with opened(tmp_path) as store:
            with pytest.raises(ParameterError, match="cannot read"):
                deal_out(secret, store)
            (tmp_path / "pre-shared.alice.used").write_bytes(b"")
            with pytest.raises(KeyStoreError, match="another store"):
                deal_out(secret, store)

    def test_too_short_or_open_to_others(self, tmp_path: Path) -> None:
        create_secret_file(tmp_path / "short", 2047)
        create_secret_file(tmp_path / "open", 2048)
        (tmp_path / "open").chmod(0o640)
        with opened(tmp_path) as store:
            for name, why in (("short", "2047 bytes"), ("open", "mode 0640")):
                with pytest.raises(ParameterError, match=why):
                    deal_out(tmp_path / name, store)
                assert not (tmp_path / f"{name}.alice.used").exists()


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


class Watched(MemoryVault):
    """A vault that notes which of the peer's tags verified and what was done thereupon."""

    def __init__(self, pre_shared: bytes) -> None:
        super().__init__(pre_shared)
        self.told: list[tuple[str, int]] = []

    def accept_pad(self, sender: Role, number: int) -> None:
        super().accept_pad(sender, number)
        self.told.append(("verified", number))

    def commit(self, number: int) -> None:
        super().commit(number)
        self.told.append(("commit", number))


class TestNoKeyBeforeThePeersTag:
    def test_only_confirmation_commits(self) -> None:
        """The claim of qkd/confirmation.py: outside the stores, three calls of commit, all in that file."""
        root = Path(confirmation.__file__).parent
        found = []
        for path in root.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
                if is_call and node.func.attr == "commit" and path.name not in ("store.py",):
                    found.append(path.relative_to(root).as_posix())
        assert found == ["confirmation.py"] * 3

    def test_honest_run(self) -> None:
        alice, bob, _ = self.run(lambda _role, encoded: [encoded])
        assert alice.told == [("verified", 0), ("commit", 0)]
        assert bob.told == [("verified", 0), ("verified", 1), ("commit", 0)]

    @pytest.mark.parametrize("kind", [Hello, Tag])
    @pytest.mark.parametrize("act", [drop, cut, flip(200), flip(91), lambda m: [m, m]])
    def test_with_every_hello_and_tag_spoilt(self, kind: type, act: Any) -> None:
        for target in range(2 if kind is Hello else 3):
            seen = iter(range(100))

            def tamper(_role: Role, encoded: bytes, seen: Any = seen, target: int = target) -> list[bytes]:
                mine = isinstance(decode(encoded), kind) and next(seen) == target
                return act(encoded) if mine else [encoded]

            alice, bob, _ = self.run(tamper)
            for vault, needed in ((alice, 1), (bob, 2)):
                commits = [i for i, (what, _) in enumerate(vault.told) if what == "commit"]
                assert len(commits) <= 1
                for place in commits:
                    assert [what for what, _ in vault.told[:place]].count("verified") == needed
            assert len(alice.blocks) - len(bob.blocks) in (0, 1)
            assert len(bob.blocks) == len(alice.blocks) or bob.prepared == 0

    @staticmethod
    def run(tamper: Any) -> tuple[Watched, Watched, QkdError | None]:
        secret = hashlib.shake_256(b"watched").digest(4096)
        vaults = Watched(secret), Watched(secret)
        link, alice, bob = small_link(tamper=tamper, vaults=vaults)
        try:
            next(link.blocks())
        except (QkdError, PeerUnreachable) as error:
            return alice, bob, error  # type: ignore[return-value]
        return alice, bob, None  # type: ignore[return-value]


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
