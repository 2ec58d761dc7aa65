"""`qkd finite-key`: what a block of a given size and error rate gives, before anybody builds a link."""

from __future__ import annotations

import click

from cli import output


@click.command()
@click.option("--qber", type=float, required=True, help="Expected error rate, a fraction: 0.025 is 2.5 %.")
@click.option("--sifted", type=int, required=True, help="Sifted bits in the block.")
@click.option("--eps", type=float, required=True, help="Total failure probability, secrecy and correctness.")
@click.option(
    "--efficiency", type=float, default=1.19, show_default=True, help="Leak of error correction over h(QBER)."
)
@click.option(
    "--bound",
    type=click.Choice(["exact", "serfling", "lim2021"]),
    default="exact",
    show_default=True,
    help="Bound on the phase errors; only exact is used to make keys.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(qber: float, sifted: int, eps: float, efficiency: float, bound: str, as_json: bool) -> None:
    """Secret key length that a finite block gives.

    The test bits and the split of EPS are chosen to give the longest key. phase_error_bound is a fraction;
    both_bases_bits is what a session makes of the same block when both bases give key and test each other (always by
    the exact bound). Without a key the exit code is 6 and least_sifted says how large a block it takes.

    \b
    Example:  qkd finite-key --qber 0.025 --sifted 10000 --eps 1e-10
    """
    from qkd import finitekey
    from qkd.errors import KeyTooShort

    method = finitekey.Bound(bound)
    plan = finitekey.plan(qber, sifted, eps, efficiency=efficiency, bound=method)
    least = finitekey.least_sifted(qber, eps, efficiency=efficiency, bound=method)
    fields = {
        "secret_bits": plan.secret_bits,
        "test_bits": plan.test_bits,
        "phase_error_bound": plan.phase_error_bound,
        "eps_sec": plan.eps_sec,
        "eps_cor": plan.eps_cor,
        "least_sifted": least,
        "both_bases_bits": finitekey.plan_both_bases(qber, sifted, eps, efficiency=efficiency),
        "leak_ec_bits": plan.leak_ec_bits,
        "verify_bits": plan.verify_bits,
        "bound": bound,
    }
    if as_json:
        output.emit("qkd.finite-key.v1", fields)
    else:
        rows = [
            ("secret bits", f"{plan.secret_bits} of {sifted} sifted ({plan.secret_bits / sifted:.1%})"),
            ("key from both bases", f"{fields['both_bases_bits']} bits"),
            ("least block", "no size gives a key at this error rate" if least is None else f"{least} sifted bits"),
        ]
        if plan.secret_bits:
            rows += [
                ("test bits", f"{plan.test_bits}"),
                ("phase errors", f"at most {plan.phase_error_bound:.2%} of the key bits"),
                ("leak of error correction", f"{plan.leak_ec_bits} bits"),
                ("failure probability", f"secrecy {plan.eps_sec:.3g}, correctness {plan.eps_cor:.3g}"),
            ]
        output.table(rows)
    if not plan.secret_bits:
        raise KeyTooShort(plan.raw, sifted, least)
