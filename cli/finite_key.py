"""`qkd finite-key`: what a block of a given size and error rate gives, before anybody builds a link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cli import output

if TYPE_CHECKING:
    from qkd.keybounds import Bound
    from qkd.keyplan import Expectation, Plan


@click.command()
@click.option("--qber", type=float, required=True, help="Expected error rate, a fraction: 0.025 is 2.5 %.")
@click.option("--sifted", type=int, help="Sifted bits in the block.")
@click.option("--coincidences", type=int, help="Instead: pairs before the bases are compared.")
@click.option(
    "--bias",
    metavar="auto|P",
    help="With --coincidences: probability of the X basis at either station  [default: auto, the best]",
)
@click.option("--eps", type=float, required=True, help="Total failure probability, secrecy and correctness.")
@click.option(
    "--efficiency", type=float, default=1.19, show_default=True, help="Leak of error correction over h(QBER)."
)
@click.option(
    "--statement",
    type=click.Choice(["variable", "fixed"]),
    default="variable",
    show_default=True,
    help="The length follows the observed errors, as in a session; or thresholds are fixed beforehand.",
)
@click.option(
    "--abort-probability",
    type=float,
    metavar="P",
    help="With fixed thresholds: how often an honest link may exceed one  [default: the best]",
)
@click.option(
    "--bound",
    type=click.Choice(["exact", "serfling", "lim2021", "tlgr2012"]),
    default="exact",
    show_default=True,
    help="Bound on the phase errors; only exact is used to make keys.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(
    qber: float,
    sifted: int | None,
    coincidences: int | None,
    bias: str | None,
    eps: float,
    efficiency: float,
    statement: str,
    abort_probability: float | None,
    bound: str,
    as_json: bool,
) -> None:
    """Secret key length that a finite block gives.

    Of --sifted bits some are revealed as a test; their number and the split of EPS are chosen to give the longest key.
    both_bases_bits is what a session makes of the same block, where both bases give key and test each other. Of
    --coincidences the bases take their shares first, and the key is that of both; the best bias is found.

    phase_error_bound is a fraction. Without a key the exit code is 6 and the least size that gives one is named.

    \b
    Example:  qkd finite-key --qber 0.025 --sifted 10000 --eps 1e-10
    Example:  qkd finite-key --qber 0.025 --coincidences 1000000 --eps 1e-10
    """
    if (sifted is None) == (coincidences is None):
        raise click.UsageError("give either --sifted or --coincidences")
    if coincidences is None and bias is not None:
        raise click.UsageError("--bias needs --coincidences: sifted bits have their bases already")
    if coincidences is not None and bound != "exact":
        raise click.UsageError("--bound is for --sifted: keys of both bases are planned with the exact bound only")
    from qkd.finitekey import Statement
    from qkd.keybounds import Bound
    from qkd.keyplan import Expectation

    ask = Expectation(
        qber=qber,
        eps=eps,
        efficiency=efficiency,
        statement=Statement(statement),
        abort_probability=abort_probability,
    )
    if coincidences is None:
        assert sifted is not None
        _of_sifted(ask, sifted, Bound(bound), as_json)
    else:
        _of_coincidences(ask, coincidences, _p_x(bias), as_json)


def _p_x(bias: str | None) -> float | None:
    if bias in (None, "auto"):
        return None
    assert bias is not None
    try:
        return float(bias)
    except ValueError:
        raise click.BadParameter(f"{bias!r} is neither a probability nor auto", param_hint="--bias") from None


def _of_sifted(ask: Expectation, sifted: int, bound: Bound, as_json: bool) -> None:
    from qkd.errors import KeyTooShort
    from qkd.keyplan import plan_both_bases, plan_sample
    from qkd.leastblock import least_sifted

    plan = plan_sample(ask, sifted, bound)
    both = plan_both_bases(ask, sifted - sifted // 2, sifted // 2)
    least = least_sifted(ask, bound)
    if as_json:
        fields = {"least_sifted": least, "both_bases_bits": both.secret_bits, "bound": bound.value}
        output.emit("qkd.finite-key.v1", _fields(plan) | _claim(plan, bound) | fields)
    else:
        rows = [
            ("secret bits", f"{plan.secret_bits} of {sifted} sifted ({plan.secret_bits / sifted:.1%})"),
            ("key from both bases", f"{both.secret_bits} bits"),
            ("least block", _least(least, "sifted bits")),
        ]
        output.table(rows + (_details(plan, bound) if plan.secret_bits else []))
    if not plan.secret_bits:
        raise KeyTooShort(plan.raw, sifted, least)


def _of_coincidences(ask: Expectation, coincidences: int, p_x: float | None, as_json: bool) -> None:
    from qkd.errors import KeyTooShort
    from qkd.keybounds import Bound
    from qkd.keyplan import plan_biased
    from qkd.leastblock import least_coincidences

    plan = plan_biased(ask, coincidences, p_x)
    least = least_coincidences(ask, p_x)
    z, x = plan.strings
    if as_json:
        fields = {
            "coincidences": coincidences,
            "bias": plan.p_x if plan.secret_bits or p_x is not None else None,
            "sifted_z": z.key_bits,
            "sifted_x": x.key_bits,
            "secret_bits_z": max(0, z.raw),
            "secret_bits_x": max(0, x.raw),
            "least_sifted": None if least is None else _sifted(least, p_x, ask),
            "least_coincidences": least,
            "both_bases_bits": plan.secret_bits,
            "bound": "exact",
        }
        output.emit("qkd.finite-key.v1", _fields(plan) | _claim(plan, Bound.EXACT) | fields)
    else:
        share = f"{plan.secret_bits / coincidences:.1%}"
        rows = [
            ("secret bits", f"{plan.secret_bits} of {coincidences} coincidences ({share})"),
            ("least block", _least(least, "coincidences")),
        ]
        if plan.secret_bits:
            rows.append(("probability of X", f"{plan.p_x:.4g}: {z.key_bits} bits in Z, {x.key_bits} in X"))
        output.table(rows + (_details(plan, Bound.EXACT) if plan.secret_bits else []))
    if not plan.secret_bits:
        raise KeyTooShort(plan.raw, coincidences, least, "coincidences")


def _sifted(coincidences: int, p_x: float | None, ask: Expectation) -> int:
    """Bits in equal bases among the least coincidences."""
    from qkd.keyplan import plan_biased

    return sum(string.key_bits for string in plan_biased(ask, coincidences, p_x).strings)


def _fields(plan: Plan) -> dict[str, Any]:
    """What every plan has; of two strings, the first is the Z key, tested by X."""
    first = plan.strings[0]
    return {
        "secret_bits": plan.secret_bits,
        "test_bits": first.test_bits,
        "phase_error_bound": first.phase_error_bound,
        "eps_sec": plan.eps_sec,
        "eps_cor": plan.eps_cor,
        "leak_ec_bits": sum(string.leak_ec_bits for string in plan.strings),
        "verify_bits": plan.verify_bits * len(plan.strings),
        "test_errors": first.test_errors,
    }


def _claim(plan: Plan, bound: Bound) -> dict[str, Any]:
    """What is proven of such a length.

    The literature's bounds are of fixed thresholds; planned like a variable length, their figure is that at the
    threshold itself, with no word on how often a link stays below it.
    """
    from qkd.finitekey import Statement
    from qkd.keybounds import Bound

    compared = bound is not Bound.EXACT
    at_threshold = compared and plan.statement is Statement.VARIABLE_LENGTH
    return {
        "statement": (Statement.FIXED_THRESHOLD if compared else plan.statement).value,
        "theorem": f"comparison, fixed threshold: {bound.source}" if compared else plan.statement.theorem,
        "abort_probability": None if at_threshold else plan.abort_probability,
    }


def _details(plan: Plan, bound: Bound) -> list[tuple[str, str]]:
    from qkd.finitekey import Statement

    first = plan.strings[0]
    fixed = plan.statement is Statement.FIXED_THRESHOLD
    errors = "tolerated" if fixed else "expected"
    rows = [
        ("test bits", f"{first.test_bits}, {first.test_errors} errors {errors}"),
        ("phase errors", f"at most {first.phase_error_bound:.2%} of the key bits"),
        ("leak of error correction", f"{sum(string.leak_ec_bits for string in plan.strings)} bits"),
        ("failure probability", f"secrecy {plan.eps_sec:.3g}, correctness {plan.eps_cor:.3g}"),
        ("statement", _claim(plan, bound)["theorem"]),
    ]
    if fixed:
        rows.append(("honest blocks given up", f"at most {plan.abort_probability:.2g} of them"))
    return rows


def _least(least: int | None, unit: str) -> str:
    return "no size gives a key at this error rate" if least is None else f"{least} {unit}"
