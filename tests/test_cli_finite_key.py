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


@pytest.mark.parametrize(("bound", "table"), [("serfling", 1_557), ("lim2021", 1_765), ("tlgr2012", 1_566)])
def test_other_bounds_give_what_their_papers_give(bound: str, table: int) -> None:
    """The same block by the same independent optimiser."""
    result = _run(f"--qber 0.025 --sifted 10000 --eps 1e-10 --bound {bound} --json")
    fields = json.loads(result.stdout)
    assert fields["secret_bits"] == pytest.approx(table, rel=5e-3)
    # A figure at the threshold itself, which half of the honest blocks exceed: no claim of a session's kind.
    assert fields["statement"] == "fixed"
    assert fields["theorem"].startswith("comparison")
    assert fields["abort_probability"] is None


NEIGHBOURS = [
    (0.025, 10**5, 48_665),
    (0.025, 10**6, 565_158),
    (0.025, 10**7, 6_006_477),
    (0.05, 10**4, 1_090),
    (0.05, 10**5, 24_914),
    (0.05, 10**6, 315_217),
    (0.05, 10**7, 3_460_408),
]


@pytest.mark.parametrize(("qber", "sifted", "least"), NEIGHBOURS)
def test_lengths_are_at_least_those_of_an_independent_optimiser(qber: float, sifted: int, least: int) -> None:
    """The same as a command; the figures are those of tests/test_keyplan."""
    fields = json.loads(_run(f"--qber {qber} --sifted {sifted} --eps 1e-10 --json").stdout)
    assert least <= fields["secret_bits"] < fields["both_bases_bits"]
    assert fields["statement"] == "variable"


def test_fixed_thresholds_say_so_and_give_less() -> None:
    arguments = "--qber 0.025 --sifted 10000 --eps 1e-10"
    free, fixed = (json.loads(_run(f"{arguments} --json{more}").stdout) for more in ("", " --statement fixed"))
    assert fixed["secret_bits"] < free["secret_bits"]
    assert fixed["least_sifted"] > free["least_sifted"]
    assert (free["abort_probability"], free["statement"], fixed["statement"]) == (0.0, "variable", "fixed")
    assert 0 < fixed["abort_probability"] <= 0.3
    assert "2408.17349" in free["theorem"]
    assert "Quantum 1:14" in fixed["theorem"]
    assert fixed["test_errors"] > 0.025 * fixed["test_bits"]
    shown = _run(f"{arguments} --statement fixed --abort-probability 1e-3").stdout
    assert "fixed threshold" in shown
    assert "errors tolerated" in shown
    assert "honest blocks given up" in shown


def test_coincidences_are_shared_by_the_bias() -> None:
    arguments = "--qber 0.025 --coincidences 1000000 --eps 1e-10"
    best, even = (json.loads(_run(f"{arguments} --json{more}").stdout) for more in ("", " --bias 0.5"))
    assert best["secret_bits"] > 1.4 * even["secret_bits"]
    assert best["bias"] < 0.15
    assert even["bias"] == 0.5
    assert (even["sifted_z"], even["sifted_x"]) == (250_000, 250_000)
    assert best["secret_bits_z"] + best["secret_bits_x"] == best["secret_bits"] == best["both_bases_bits"]
    assert best["test_bits"] == best["sifted_x"]
    assert best["least_sifted"] <= best["least_coincidences"]
    assert best["eps_sec"] + best["eps_cor"] == pytest.approx(1e-10, rel=1e-12)
    assert json.loads(_run(f"{arguments} --bias auto --json").stdout) == best
    shown = _run(arguments).stdout
    assert "probability of X" in shown
    assert f"{best['sifted_x']} in X" in shown


def test_too_few_coincidences_say_how_many_it_takes() -> None:
    result = _run("--qber 0.025 --coincidences 1000 --eps 1e-10 --json")
    assert result.exit_code == 6
    fields = json.loads(result.stdout)
    assert (fields["secret_bits"], fields["bias"]) == (0, None)
    assert "1000 coincidences give" in result.stderr
    assert f"it takes about {fields['least_coincidences']} or more" in result.stderr
    assert _run(f"--qber 0.025 --coincidences {fields['least_coincidences']} --eps 1e-10").exit_code == 0


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
    assert "no size gives a key" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("--qber 0.6 --sifted 1000 --eps 1e-10", "qber = 0.6 must be in 0 .. 0.5"),
        ("--qber 2.5 --sifted 1000 --eps 1e-10", "a fraction is meant: 0.025 for 2.5 %"),
        ("--qber -0.1 --sifted 1000 --eps 1e-10", "qber = -0.1"),
        ("--qber nan --sifted 1000 --eps 1e-10", "qber = nan"),
        ("--qber 0.02 --sifted -3 --eps 1e-10", "sifted = -3 must be in 2 .. 10000000000"),
        ("--qber 0.02 --sifted 1000 --eps 0", "eps = 0"),
        ("--qber 0.02 --sifted 1000 --eps 2", "eps = 2"),
        ("--qber 0.02 --sifted 1000 --eps 1e-10 --efficiency 0.5", "efficiency = 0.5"),
        ("--qber 0.02 --sifted 1000 --eps 1e-10 --bound guess", "guess"),
        ("--sifted 1000 --eps 1e-10", "--qber"),
        ("--qber 0.02 --eps 1e-10", "either --sifted or --coincidences"),
        ("--qber 0.02 --sifted 1000 --coincidences 1000 --eps 1e-10", "either --sifted or --coincidences"),
        ("--qber 0.02 --sifted 1000 --bias 0.1 --eps 1e-10", "--bias needs --coincidences"),
        ("--qber 0.02 --coincidences 1000 --bias 0.7 --eps 1e-10", "p_x = 0.7 must be in"),
        ("--qber 0.02 --coincidences 1000 --bias nan --eps 1e-10", "p_x = nan"),
        ("--qber 0.02 --coincidences 1000 --bias much --eps 1e-10", "neither a probability nor auto"),
        ("--qber 0.02 --coincidences 1000 --bias 0.01 --eps 1e-10", "leaves no X bit"),
        ("--qber 0.02 --coincidences -5 --eps 1e-10", "coincidences = -5"),
        ("--qber 0.02 --coincidences 1000 --bound serfling --eps 1e-10", "--bound is for --sifted"),
        ("--qber 0.02 --sifted 1000 --abort-probability 0.1 --eps 1e-10", "no threshold to pass"),
        ("--qber 0.02 --sifted 1000 --statement fixed --abort-probability 2 --eps 1e-10", "abort_probability = 2.0"),
        ("--qber 0.02 --sifted 1000 --statement loose --eps 1e-10", "loose"),
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
