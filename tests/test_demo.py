"""`qkd demo`: real processes, twice, with and without an eavesdropper."""

from __future__ import annotations

from tests.commands import assert_refused, one_object, qkd
from tests.test_cli_session import FIELDS


def test_the_demo_ends_in_keys_match_and_can_be_repeated() -> None:
    for _ in range(2):
        done = qkd("demo", "--block-bits", 50000)
        assert done.returncode == 0, done.stderr
        assert done.stdout.rstrip().endswith("keys match")
        assert "kcps" in done.stderr
        assert "QBER" in done.stderr


def test_the_demo_as_json() -> None:
    done = qkd("demo", "--block-bits", 50000, "--json", "--seed", 3)
    assert done.returncode == 0, done.stderr
    report = one_object(done)
    assert report.keys() >= FIELDS
    assert report["simulated"] is True
    assert report["keys_match"] is True
    assert report["keys_fetched"] == 4
    assert report["secret_bits"] > 0


def test_an_eavesdropper_is_exit_3_and_says_why() -> None:
    done = qkd("demo", "--eve", 1, "--json")
    assert done.returncode == 3, done.stderr
    report = one_object(done)
    assert report["keys_match"] is False
    assert report["secret_bits"] == 0
    assert report["abort"] == "QberTooHigh"
    # 25 % on top of the link's 2 %; a sample of about 1000 bits per basis, five sigma.
    assert 0.19 < report["qber_z"] < 0.34
    assert 0.19 < report["qber_x"] < 0.34


def test_an_unknown_scenario_is_one_line() -> None:
    done = qkd("demo", "--scenario", "atlantis")
    assert done.returncode in (1, 2)
    assert "atlantis" in done.stderr
    assert "Traceback" not in done.stderr


def test_options_out_of_range_are_usage_errors() -> None:
    done = qkd("demo", "--eve", 1.5)
    assert done.returncode == 2
    assert_refused(qkd("node", "no-such.toml"), 2, "no-such.toml")
