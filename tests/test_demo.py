"""`qkd demo`: real processes, twice, with and without an eavesdropper."""

from __future__ import annotations

import pytest

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


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["e91", "e91-3x2"])
def test_the_demo_with_a_bell_test(protocol: str) -> None:
    done = qkd("demo", "--protocol", protocol, "--block-bits", 20000, "--json", "--seed", 4, "--timeout", 110)
    assert done.returncode == 0, done.stderr
    report = one_object(done)
    assert report.keys() >= FIELDS | {"chsh_s", "chsh_s_error", "chsh_p_value"}
    assert report["protocol"] == protocol
    assert report["keys_match"] is True
    assert report["keys_fetched"] == 4
    assert report["chsh_s"] - 5 * report["chsh_s_error"] > 2
    assert report["chsh_p_value"] < 1e-100
    assert ", S 2." in done.stderr


@pytest.mark.slow
def test_an_eavesdropper_fails_the_bell_test_and_shows_in_the_error_rate() -> None:
    done = qkd("demo", "--protocol", "e91", "--eve", 1, "--block-bits", 20000, "--json", "--timeout", 110)
    assert done.returncode == 3, done.stderr
    report = one_object(done)
    assert report["secret_bits"] == 0
    assert report["abort"] == "BellTestFailed"
    # S is sqrt 2 times the link's own correlations; 25 % on top of its 2 %, 200 sampled bits at least, five sigma.
    assert abs(report["chsh_s"] - 1.36) < 0.02 + 5 * report["chsh_s_error"]
    assert 0.1 < report["qber_z"] < 0.44
    assert "S = 1." in done.stderr


def test_an_unknown_scenario_is_one_line() -> None:
    done = qkd("demo", "--scenario", "atlantis")
    assert done.returncode in (1, 2)
    assert "atlantis" in done.stderr
    assert "Traceback" not in done.stderr


def test_options_out_of_range_are_usage_errors() -> None:
    done = qkd("demo", "--eve", 1.5)
    assert done.returncode == 2
    assert_refused(qkd("node", "no-such.toml"), 2, "no-such.toml")
