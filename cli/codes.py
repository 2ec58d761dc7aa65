"""`qkd codes`: the family of parity-check matrices that reconciliation by LDPC codes uses."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cli import output
from qkd.errors import ParameterError

PACKAGE = Path(__file__).resolve().parents[1] / "qkd"
SUMS = "SHA256SUMS"
HEADING = "name              leak             threshold  f there  girth  base       Z     edges  degree mean, most"


@click.group("codes")
def command() -> None:
    """The shipped parity-check matrices: look at them, check them, make them anew.

    \b
    Example:  qkd codes show
    """


@command.command("show")
@click.option("--bits", type=int, default=65536, show_default=True, help="Payload: 16384, 65536 or 262144 bits.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def show(bits: int, as_json: bool) -> None:
    """List the codes of one payload size: leak, threshold by density evolution, efficiency there, girth, sizes.

    \b
    Example:  qkd codes show --bits 65536 --json
    """
    from qkd.codedesign import inspection
    from qkd.reconciliation import codes

    rows = []
    for code in codes.family(bits):
        degrees = inspection.column_degrees(code)
        rows.append(
            {
                "name": code.name,
                "least_leak_fraction": code.least_leak_fraction,
                "leak_fraction": code.leak_fraction,
                "threshold_qber": code.threshold_qber,
                "f_at_threshold": inspection.efficiency(code),
                "girth": inspection.girth(code),
                "rows": code.rows,
                "columns": code.columns,
                "lifting": code.lifting,
                "edges": int(code.starts[-1]),
                "mean_degree": float(degrees.mean()),
                "most_degree": int(degrees.max()),
            }
        )
    if as_json:
        output.emit("qkd.codes-show.v1", {"payload_bits": bits, "codes": rows})
        return
    click.echo(HEADING)
    for row in rows:
        click.echo(
            f"{row['name']:<15}  {row['least_leak_fraction']:.4f} - {row['leak_fraction']:.4f}  "
            f"{row['threshold_qber']:>8.3%}  {row['f_at_threshold']:>7.4f}  {row['girth']:>5}  "
            f"{row['rows']:>3} x {row['columns']:<3}  {row['lifting']:<4}  {row['edges']:>5}  "
            f"{row['mean_degree']:.2f}, {row['most_degree']}"
        )


@command.command("check")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def check(as_json: bool) -> None:
    """Verify the shipped data: checksums, counts, degrees, order, shifts, cycles. Exit code 1 if something is wrong.

    \b
    Example:  qkd codes check
    """
    from qkd.codedesign import inspection
    from qkd.reconciliation import codes

    sums = {line.split()[1]: line.split()[0] for line in codes.data_text(SUMS).splitlines()}
    files = []
    for bits in codes.SIZES:
        name = codes.file_name(bits)
        found = inspection.problems(codes.family(bits))
        if codes.checksum(codes.text_of(bits)) != sums.get(name):
            found.append("the checksum is not the one recorded")
        girths = [inspection.girth(code) for code in codes.family(bits)]
        files.append({"file": name, "codes": len(girths), "least_girth": min(girths), "problems": found})
        if not as_json:
            verdict = "FAILED" if found else "ok"
            click.echo(f"{verdict:<6}  {name:<18}  {len(girths):>3} codes, girth from {min(girths)}")
            for problem in found:
                click.echo(f"        {problem}")
    good = not any(each["problems"] for each in files)
    if as_json:
        output.emit("qkd.codes-check.v1", {"ok": good, "files": files})
    if not good:
        sys.exit(output.Exit.FAILURE)


@command.command("make")
@click.option("--bits", type=int, multiple=True, help="Payload: 16384, 65536 or 262144 bits; all when left out.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=PACKAGE / "reconciliation" / "data",
    show_default="the installed data",
    help="Folder to write to.",
)
def make(bits: tuple[int, ...], out: Path) -> None:
    """Make the data files anew from the planned degrees: the same bytes every time, on one version of numpy.

    \b
    Example:  qkd codes make --bits 16384 --out fresh-codes
    """
    from qkd.codedesign import family
    from qkd.reconciliation import codes

    for size in bits or codes.SIZES:
        if size not in codes.SIZES:
            raise ParameterError(f"no codes for frames of {size} bits: the sizes are 16384, 65536 and 262144")
        made = []
        for plan in family.plans():
            output.say(f"{size} bits: {plan.rows} rows")
            made.append(family.make(plan, size))
        click.echo(f"{_write(out / codes.file_name(size), codes.write(tuple(made))):<9}  {out / codes.file_name(size)}")
    names = [codes.file_name(size) for size in codes.SIZES]
    texts = {name: (out / name).read_text(encoding="ascii") for name in names if (out / name).is_file()}
    sums = "".join(f"{codes.checksum(text)}  {name}\n" for name, text in texts.items())
    click.echo(f"{_write(out / SUMS, sums):<9}  {out / SUMS}")


@command.command("optimise")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write, not standard output.")
@click.option("--rows", type=int, multiple=True, help="Only the codes of so many base rows; all when left out.")
def optimise(out: Path | None, rows: tuple[int, ...]) -> None:
    """Find the degrees anew by density evolution: what `qkd codes make` starts from. Takes about ten minutes for all.

    \b
    Example:  qkd codes optimise --rows 40
    """
    from qkd.codedesign import family, search

    found = []
    for plan in search.search(rows or None):
        output.say(f"{plan.rows} rows: threshold {plan.threshold_qber:.3%}")
        found.append(plan)
    text = family.write_plans(found)
    if out is None:
        click.echo(text, nl=False)
    else:
        click.echo(f"{_write(out, text):<9}  {out}")


def _write(path: Path, text: str) -> str:
    if path.is_file() and path.read_text(encoding="ascii") == text:
        return "unchanged"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii", newline="\n")
    return "written"
