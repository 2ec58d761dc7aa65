"""`qkd finite-key`: stdout, stderr and exit code, as a script meets them."""

from __future__ import annotations

import json
import shlex

import pytest
from click.testing import CliRunner, Result

from cli.main import main


def _run(arguments: str) -> Result:
    return CliRunner().invoke(main, shlex.split(f"finite-key {arguments}"))


def test_json_has_the_stable_fields() -> None:
    """Length at 2.5 %, 1e4 sifted bits, 1e-10: at least the 3,096 of an independent optimiser, at most 1 % above."""
    result = _run("--qber 0.025 --sifted 10000 --eps 1e-10 --json")
    assert result.exit_code == 0
    fields = json.loads(result.stdout)
    assert next(iter(fields)) == "schema"
    assert 3096 <= fields["secret_bits"] <= 3127
    assert 0 < fields["test_bits"] < 10_000
    assert 0.025 < fields["phase_error_bound"] < 0.11
    assert fields["eps_sec"] + fields["eps_cor"] == pytest.approx(1e-10, rel=1e-12)
    assert 1355 <= fields["least_sifted"] <= 1394
    assert fields["both_bases_bits"] > fields["secret_bits"]
    assert result.stderr == ""


@pytest.mark.parametrize(("bound", "table"), [("serfling", 1_557), ("lim2021", 1_765)])
def test_other_bounds_give_what_their_papers_give(bound: str, table: int) -> None:
    """The same block by the same independent optimiser."""
    result = _run(f"--qber 0.025 --sifted 10000 --eps 1e-10 --bound {bound} --json")
    assert json.loads(result.stdout)["secret_bits"] == pytest.approx(table, rel=5e-3)


def test_a_satellite_block_gives_a_key() -> None:
    """3,100 sifted bits at 4.51 %, 1e-10: 49.9 bits before the exact support, which adds 4 to 12."""
    assert 50 <= json.loads(_run("--qber 0.0451 --sifted 3100 --eps 1e-10 --json").stdout)["secret_bits"] <= 62


def test_a_worse_error_correction_costs_key() -> None:
    good, bad = (
        json.loads(_run(f"--qber 0.05 --sifted 100000 --eps 1e-10 --efficiency {f} --json").stdout)["secret_bits"]
        for f in (1.05, 1.5)
    )
    assert good > bad > 0


def test_too_small_a_block_says_how_large_it_must_be() -> None:
    result = _run("--qber 0.025 --sifted 1000 --eps 1e-10 --json")
    assert result.exit_code == 6
    fields = json.loads(result.stdout)
    assert fields["secret_bits"] == 0
    assert str(fields["least_sifted"]) in result.stderr
    enough = _run(f"--qber 0.025 --sifted {fields['least_sifted']} --eps 1e-10 --json")
    assert enough.exit_code == 0
    assert json.loads(enough.stdout)["secret_bits"] > 0


def test_too_noisy_a_link_has_no_least_block() -> None:
    result = _run("--qber 0.12 --sifted 1000000 --eps 1e-10 --json")
    assert result.exit_code == 6
    fields = json.loads(result.stdout)
    assert fields["secret_bits"] == 0
    assert fields["least_sifted"] is None


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("--qber 0.6 --sifted 1000 --eps 1e-10", "qber = 0.6 must be in 0 .. 0.5"),
        ("--qber -0.1 --sifted 1000 --eps 1e-10", "qber = -0.1"),
        ("--qber nan --sifted 1000 --eps 1e-10", "qber = nan"),
        ("--qber 0.02 --sifted -3 --eps 1e-10", "sifted = -3"),
        ("--qber 0.02 --sifted 1000 --eps 0", "eps = 0"),
        ("--qber 0.02 --sifted 1000 --eps 2", "eps = 2"),
        ("--qber 0.02 --sifted 1000 --eps 1e-10 --efficiency 0.5", "efficiency = 0.5"),
        ("--qber 0.02 --sifted 1000 --eps 1e-10 --bound guess", "guess"),
        ("--sifted 1000 --eps 1e-10", "--qber"),
    ],
)
def test_impossible_arguments_are_usage_errors(arguments: str, named: str) -> None:
    result = _run(arguments)
    assert result.exit_code == 2
    assert named in result.stderr
    assert result.stdout == ""


def test_the_example_of_the_help_works() -> None:
    shown = _run("--help").stdout
    example = next(line for line in shown.splitlines() if "Example:" in line).split("qkd finite-key", 1)[1]
    result = _run(example)
    assert result.exit_code == 0
    assert "secret bits" in result.stdout
