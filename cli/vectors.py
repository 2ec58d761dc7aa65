"""`qkd vectors`: known-answer vectors against this installation, and making them anew in a checkout."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from cli import output
from qkd.errors import ParameterError

CHECKOUT = Path(__file__).resolve().parents[1]
MAKER = "tests.vectormaker"


@dataclass(frozen=True, slots=True)
class Checked:
    """One vector file: how many tests it has, and what is wrong, one line each."""

    file: str
    tests: int
    problems: list[str]


@click.group("vectors")
def command() -> None:
    """Known-answer vectors of every stage: check this installation, or make them anew.

    \b
    Example:  qkd vectors check
    """


@command.command("check")
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def check(directory: Path | None, as_json: bool) -> None:
    """Run every vector below DIRECTORY (default: ./vectors, or the checkout's) and say what does not come out.

    Exit code 0 when all pass, 1 otherwise. Files are checked against their JSON Schemas too where the package
    jsonschema is installed.

    \b
    Example:  qkd vectors check --json
    """
    folder = _folder(directory)
    validator = _validator()
    if validator is None:
        output.say("jsonschema is not installed: files are run, but not checked against their schemas")
    paths = [path for path in sorted(folder.glob("*/*.json")) if path.parent.name != "schema"]
    if not paths:
        raise ParameterError(f"no vector files in {folder}", hint="name the folder: qkd vectors check DIRECTORY")
    checked = []
    for path in paths:
        checked.append(_check(folder, path, validator))
        if not as_json:
            _print(checked[-1])
    good = not any(each.problems for each in checked)
    if as_json:
        files = [asdict(each) for each in checked]
        output.emit("qkd.vectors-check.v1", {"ok": good, "schemas_checked": validator is not None, "files": files})
    if not good:
        sys.exit(output.Exit.FAILURE)


@command.command("make")
@click.argument("stage")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=CHECKOUT / "vectors",
    show_default="the checkout's vectors",
    help="Folder to write to.",
)
def make(stage: str, out: Path) -> None:
    """Make the files of STAGE, of "schema" or of "all" anew, from the reference implementations of a checkout.

    A file that comes out different is a change to be reviewed.

    \b
    Example:  qkd vectors make codec --out fresh-vectors
    """
    maker = _maker()
    known = ["schema", *maker.STAGES]
    if stage not in (*known, "all"):
        raise ParameterError(f"no stage {stage!r}", hint=f"one of: {', '.join(known)}, all")
    for each in known if stage == "all" else [stage]:
        for name, text in maker.make(each).items():
            click.echo(f"{_write(out / name, text):<9}  {out / name}")


def _folder(directory: Path | None) -> Path:
    named = [directory] if directory else [Path("vectors"), CHECKOUT / "vectors"]
    for folder in named:
        if folder.is_dir():
            return folder
    raise ParameterError(
        f"no folder {' or '.join(str(folder) for folder in named)}",
        hint="vectors come with a checkout or the source archive: qkd vectors check DIRECTORY",
    )


def _validator() -> Any:
    """jsonschema's class of validators, or None: it is no dependency of an installation."""
    if importlib.util.find_spec("jsonschema") is None:
        return None
    return importlib.import_module("jsonschema").Draft202012Validator


def _check(folder: Path, path: Path, validator: Any) -> Checked:
    name = path.relative_to(folder).as_posix()
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        problems = [] if validator is None else _lint(folder, document, validator)
    except (ValueError, KeyError, TypeError) as error:
        return Checked(name, 0, [f"not a vector file: {error!r}"])
    if problems:
        return Checked(name, 0, problems)
    from qkd.knownanswers import check_document

    verdicts = check_document(document)
    failed = [f"test {v.tc_id} ({v.comment}): {v.problem}" for v in verdicts if v.problem]
    return Checked(name, document["numberOfTests"], failed)


def _lint(folder: Path, document: Any, validator: Any) -> list[str]:
    schema = folder / "schema" / Path(document["schema"]).name
    if not schema.is_file():
        return [f"there is no schema {schema.name}"]
    errors = validator(json.loads(schema.read_text(encoding="utf-8"))).iter_errors(document)
    return [f"{error.json_path}: {error.message[:200]}" for error in errors]


def _print(checked: Checked) -> None:
    click.echo(f"{'FAILED' if checked.problems else 'ok':<6}  {checked.file:<44}  {checked.tests:>3} tests")
    for problem in checked.problems:
        click.echo(f"        {problem}")


def _maker() -> ModuleType:
    if not (CHECKOUT / "tests" / "vectormaker").is_dir():
        raise ParameterError("vectors are made from the reference implementations, which only a checkout has")
    if str(CHECKOUT) not in sys.path:
        sys.path.insert(0, str(CHECKOUT))
    return importlib.import_module(MAKER)


def _write(path: Path, text: str) -> str:
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return "unchanged"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
    return "written"
