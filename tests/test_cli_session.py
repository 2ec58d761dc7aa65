"""`qkd session` on files that a tagger could have written, good ones and bad ones."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pytest

from cli.session import command
from distribution.formats.s15 import write_a1
from distribution.tags import TimeTags
from qkd.reconciliation.choice import Method
from qkd.reconciliation.ledger import LeakModel
from tests.commands import assert_refused, one_object, qkd
from tests.small_link import tags

FIELDS = {
    "schema", "protocol", "simulated", "keys_match", "sifted_bits", "qber_z", "qber_x", "f", "leak_ec_bits",
    "secret_bits", "eps_total", "auth_bits_used", "seconds", "label", "reconciliation", "reconciliation_reason",
    "leak_model", "frames", "failed_frames",
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tags")
    alice, bob = tags(1.5)
    write_a1(folder / "alice.ts", alice)
    write_a1(folder / "bob.ts", bob)
    write_a1(folder / "bob-legacy.ts", bob, legacy=True)
    return folder


def test_two_files_become_keys(files: Path) -> None:
    done = qkd("session", "--alice", files / "alice.ts", "--bob", files / "bob.ts", "--json", "--block-bits", 50000)
    assert done.returncode == 0, done.stderr
    report = one_object(done)
    assert report.keys() >= FIELDS
    assert report["keys_match"] is True
    assert report["simulated"] is False  # nothing beside these files says so
    assert report["secret_bits"] > 20_000
    assert 0.01 < report["qber_z"] < 0.03
    assert report["f"] >= 1
    assert Method(report["reconciliation"]) is not Method.AUTO
    assert "rounds at 0 ms" in report["reconciliation_reason"]
    assert report["leak_model"] == "error_pattern_public"
    assert report["frames"] == 2 * report["blocks"]
    assert report["failed_frames"] == 0


def test_method_and_leak_model_may_be_asked_for(files: Path) -> None:
    arguments = ["session", "--alice", files / "alice.ts", "--bob", files / "bob.ts", "--json", "--block-bits", 50000]
    usual = one_object(qkd(*arguments, "--reconciliation", "cascade/fast"))
    done = qkd(*arguments, "--reconciliation", "cascade/fast", "--leak-model", "both_directions")
    assert done.returncode == 0, done.stderr
    charged = one_object(done)
    for report in (usual, charged):
        assert report["reconciliation"] == "cascade/fast"
        assert report["reconciliation_reason"] == "set by the session's parameters"
    assert charged["leak_model"] == "both_directions"
    assert "both directions" in charged["label"]
    assert charged["leak_ec_bits"] > 1.8 * usual["leak_ec_bits"]
    assert charged["secret_bits"] < usual["secret_bits"]


def test_the_options_name_every_method_and_model() -> None:
    choices = {p.name: p.type.choices for p in command.params if isinstance(p.type, click.Choice)}
    assert list(choices["reconciliation"]) == [method.value for method in Method]
    assert set(choices["leak_model"]) == {model.value for model in LeakModel}


def test_the_word_order_does_not_matter_and_stores_are_kept(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "stores"
    arguments = [
        "session",
        "--alice",
        files / "alice.ts",
        "--bob",
        files / "bob-legacy.ts",
        "--simulated",
        "--out",
        out,
    ]
    done = qkd(*arguments, "--block-bits", 50000)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("keys match")
    assert {p.name for p in out.iterdir()} >= {"alice.db", "bob.db", "alice.master", "bob.master"}
    again = qkd(*arguments)
    assert_refused(again, 1, "stores")


def test_too_little_data_is_exit_6(files: Path, tmp_path: Path) -> None:
    alice, bob = tags(1.5)
    for name, stream in (("a", alice), ("b", bob)):
        first = int(stream.t_ps[0])
        write_a1(tmp_path / name, stream.between(first, first + 40_000_000_000))
    done = qkd("session", "--alice", tmp_path / "a", "--bob", tmp_path / "b")
    assert_refused(done, 6, "sifted bits")


def test_a_high_qber_is_exit_3(files: Path) -> None:
    done = qkd("session", "--alice", files / "alice.ts", "--bob", files / "bob.ts", "--qber-limit", 0.005, "--json")
    assert done.returncode == 3
    assert one_object(done)["abort"] == "QberTooHigh"
    assert "QBER" in done.stderr


def test_unrelated_files_share_no_clock(files: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    t_ps = np.cumsum(rng.exponential(1e6, 1_000_000)).astype(np.int64)
    write_a1(tmp_path / "other", TimeTags(t_ps, rng.integers(0, 4, t_ps.size).astype(np.uint8)))
    done = qkd("session", "--alice", files / "alice.ts", "--bob", tmp_path / "other")
    assert_refused(done, 1)


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda data: data[:-3], "truncated"),
        (lambda data: b"", "empty"),
        (lambda data: b"\x89PNG\r\n\x1a\n" + data[:800], "byte"),
        (lambda data: data[8000:16000] + data[:8000] + data[16000:], "byte"),
    ],
    ids=["truncated", "empty", "picture", "shuffled"],
)
def test_bad_files_are_named_with_the_offset(files: Path, tmp_path: Path, spoil: object, word: str) -> None:
    bad = tmp_path / "bad.ts"
    bad.write_bytes(spoil((files / "bob.ts").read_bytes()))  # type: ignore[operator]
    done = qkd("session", "--alice", files / "alice.ts", "--bob", bad)
    assert_refused(done, 1, "bad.ts")
    assert word in done.stderr or "byte" in done.stderr


@pytest.mark.parametrize(
    ("option", "value", "word"),
    [
        ("--window-ps", "0", "window_ps"),
        ("--block-bits", "10", "block_bits"),
        ("--qber-limit", "0.4", "qber_limit"),
        ("--eps-sec", "2", "eps_sec"),
        ("--state", "ghz", "ghz"),
        ("--reconciliation", "cascade", "cascade/fast"),
        ("--leak-model", "none", "one_way_parities"),
        ("--alice", "missing.ts", "missing.ts"),
    ],
)
def test_impossible_parameters_are_usage_errors(files: Path, option: str, value: str, word: str) -> None:
    arguments = {"--alice": str(files / "alice.ts"), "--bob": str(files / "bob.ts")} | {option: value}
    done = qkd("session", *(part for pair in arguments.items() for part in pair))
    assert done.returncode in (1, 2)
    assert word in done.stderr
    assert "Traceback" not in done.stderr
