"""`qkd device-independent`: what a CHSH value would give if nobody had opened the devices and every pair counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cli import output
from qkd.errors import DevicesGiveNoKey, ParameterError

if TYPE_CHECKING:
    from qkd.deviceindependent import CollectiveRate
    from qkd.entropyaccumulation import Accumulated, Run


@click.command()
@click.option("--s", "s", type=float, required=True, help="CHSH value, with the sign of the test fixed beforehand.")
@click.option("--qber", type=float, required=True, help="Share of unequal key bits, a fraction: 0.0144 is 1.44 %.")
@click.option("--pairs", type=int, help="Rounds of a finite run; without it only the asymptotic rates.")
@click.option("--eps", type=float, help="Failure probability of the finite run  [default: 1e-10]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(s: float, qber: float, pairs: int | None, eps: float | None, as_json: bool) -> None:
    """Key that the CHSH value alone would give.

    A calculator: S must count every pair that was made, so these figures are no claim about coincidences of a lossy
    link. rate is against collective attacks, asymptotically; rate_noisy adds the best flips of Alice's bits;
    secret_bits is of a finite run against any attack, by entropy accumulation. If --pairs give no key, the exit code
    is 6 and least_pairs says how many would.

    \b
    Example:  qkd device-independent --s 2.677 --qber 0.0144 --pairs 10000000
    """
    from qkd import deviceindependent, entropyaccumulation

    if eps is not None and pairs is None:
        raise ParameterError(f"--eps {eps} is of a finite run", hint="give --pairs, too")
    plain, noisy = deviceindependent.collective_rate(s, qber), deviceindependent.best_rate(s, qber)
    fields = _asymptotic(plain, noisy)
    rows = _asymptotic_rows(plain, noisy)
    if pairs is None:
        _print(fields, rows, as_json)
        return
    run = entropyaccumulation.Run(pairs=pairs, s=s, qber=qber, eps=1e-10 if eps is None else eps)
    found, least = entropyaccumulation.accumulate(run), entropyaccumulation.least_pairs(run)
    fields |= _finite(run, found, least)
    _print(fields, rows + _finite_rows(found, least), as_json)
    if not found.secret_bits:
        raise DevicesGiveNoKey(found.raw, pairs, least)


def _print(fields: dict[str, Any], rows: list[tuple[str, str]], as_json: bool) -> None:
    if as_json:
        output.emit("qkd.device-independent.v1", fields)
    else:
        output.table(rows)


def _asymptotic(plain: CollectiveRate, noisy: CollectiveRate) -> dict[str, Any]:
    return {
        "s": plain.s_given,
        "s_used": plain.s,
        "qber": plain.qber,
        "rate": plain.rate,
        "rate_noisy": noisy.rate,
        "flip_probability": noisy.flip_probability if noisy.rate else None,
        "entropy": plain.entropy,
        "leak": plain.leak,
        "label": plain.label,
    }


def _asymptotic_rows(plain: CollectiveRate, noisy: CollectiveRate) -> list[tuple[str, str]]:
    rows = []
    if plain.clamped:
        rows.append(("S", f"{plain.s_given:g} is above 2 sqrt(2), which no quantum devices exceed: 2 sqrt(2) used"))
    if plain.s <= 2.0:
        rows.append(("S", f"{plain.s_given:g} violates nothing: no device-independent key"))
    return [
        *rows,
        ("entropy against Eve", f"{plain.entropy:.5f} bit per key bit"),
        ("leak at the Shannon limit", f"{plain.leak:.5f} bit per key bit"),
        ("rate", f"{plain.rate:.5f} bit per pair ({plain.label})"),
        ("rate with noisy preprocessing", f"{noisy.rate:.5f}" + (_flips(noisy.flip_probability) if noisy.rate else "")),
    ]


def _flips(probability: float) -> str:
    return f", flipping {probability:.2%} of the key bits"


def _finite(run: Run, found: Accumulated, least: int | None) -> dict[str, Any]:
    return {
        "pairs": found.pairs,
        "eps": run.eps,
        "secret_bits": found.secret_bits,
        "raw_bits": found.raw,
        "secret_bits_per_pair": found.rate,
        "least_pairs": least,
        "test_share": found.choice.test_share if found.secret_bits else None,
        "finite_flip_probability": found.choice.flip_probability if found.secret_bits else None,
        "margin_sigmas": run.margin_sigmas,
        "finite_label": found.label,
    }


def _finite_rows(found: Accumulated, least: int | None) -> list[tuple[str, str]]:
    rows = [
        ("secret bits", f"{found.secret_bits} of {found.pairs} pairs ({found.rate:.4f} per pair)"),
        ("", found.label),
        ("least run", "no run gives a key at this S and error rate" if least is None else f"about {least} pairs"),
    ]
    if found.secret_bits:
        choice = found.choice
        rows.append(
            ("tests", f"{choice.test_share:.2%} of the pairs; {choice.flip_probability:.2%} of key bits flipped")
        )
    return rows
