"""`qkd keys`: an ETSI GS QKD 014 client for the shell. Key bytes go to files, never to a screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import click

from cli import output
from qkd.errors import KeyStoreError, ParameterError
from qkd.kms.client import Etsi014Client, Key
from qkd.kms.secretfile import write_secret_file

F = TypeVar("F", bound=Callable[..., Any])

_FILE = click.Path(dir_okay=False, path_type=Path)


def _connection(command: F) -> F:
    """The options that every call needs."""
    options = [
        click.option("--url", required=True, metavar="URL", help="The key manager: https://host:port."),
        click.option("--cert", required=True, type=_FILE, help="This application's certificate (PEM)."),
        click.option("--key", required=True, type=_FILE, help="Its private key (PEM)."),
        click.option("--ca", required=True, type=_FILE, help="Authority of the key managers (PEM)."),
        click.option("--kme", metavar="ID", help="Insist that the key manager's certificate names this ID."),
        click.option("--timeout", "timeout_s", default=10.0, show_default=True, help="Seconds to wait."),
        click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


_out = click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the key files."
)


def _client(options: dict[str, Any]) -> Etsi014Client:
    return Etsi014Client(
        options["url"],
        options["cert"],
        options["key"],
        options["ca"],
        kme_id=options["kme"],
        timeout_s=options["timeout_s"],
    )


@click.group()
def command() -> None:
    """Fetch keys over ETSI GS QKD 014.

    \b
    Example:  qkd keys status bob-app --url https://localhost:8014 --cert pki/alice-app.crt \\
                  --key pki/alice-app.key --ca pki/ca.crt
    """


@command.command()
@click.argument("slave")
@_connection
def status(slave: str, as_json: bool, **options: Any) -> None:
    """What the key manager can do for us and SLAVE.

    \b
    Example:  qkd keys status bob-app --url https://localhost:8014 --cert pki/alice-app.crt \\
                  --key pki/alice-app.key --ca pki/ca.crt
    """
    with _client(options) as client:
        answer = asdict(client.status(slave))
    if as_json:
        output.emit("qkd.keys.status.v1", answer)
    else:
        output.table([(name, str(value)) for name, value in answer.items()])


@command.command()
@click.argument("slave")
@click.option("--number", type=click.IntRange(min=1), help="How many keys; the key manager's default is 1.")
@click.option("--size", type=click.IntRange(min=8), metavar="BITS", help="Bits of each key.")
@_out
@_connection
def enc(slave: str, number: int | None, size: int | None, out: Path, as_json: bool, **options: Any) -> None:
    """New keys shared with SLAVE: prints their IDs, writes OUT/<key_ID>.key.

    \b
    Example:  qkd keys enc bob-app --number 2 --out keys --url https://localhost:8014 \\
                  --cert pki/alice-app.crt --key pki/alice-app.key --ca pki/ca.crt
    """
    _prepare(out)
    with _client(options) as client:
        _keep(client.enc_keys(slave, number, size), out, "qkd.keys.enc.v1", as_json)


@command.command()
@click.argument("master")
@click.argument("key_ids", metavar="KEY_ID...", nargs=-1, required=True)
@_out
@_connection
def dec(master: str, key_ids: tuple[str, ...], out: Path, as_json: bool, **options: Any) -> None:
    """The keys that MASTER was given under these IDs; writes OUT/<key_ID>.key.

    \b
    Example:  qkd keys dec alice-app 3f2c8a54-0d1e-8b7a-9c3d-5e6f70819a2b --out keys \\
                  --url https://localhost:8014 --cert pki/bob-app.crt --key pki/bob-app.key --ca pki/ca.crt
    """
    _prepare(out)
    for key_id in key_ids:
        if "/" not in key_id and _path(out, key_id.lower()).exists():
            raise ParameterError(f"{_path(out, key_id.lower())} is there already: nothing was fetched")
    with _client(options) as client:
        _keep(client.dec_keys(master, key_ids), out, "qkd.keys.dec.v1", as_json)


def _prepare(out: Path) -> None:
    # Keys are delivered once: find out that they cannot be written before asking for them.
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    probe = out / ".qkd-probe"
    probe.touch(mode=0o600)
    probe.unlink()


def _path(out: Path, key_id: str) -> Path:
    return out / f"{key_id}.key"


def _keep(keys: Sequence[Key], out: Path, schema: str, as_json: bool) -> None:
    lost = []
    for key in keys:
        try:
            write_secret_file(_path(out, key.key_id), key.key, replace=False)
        except ParameterError as error:
            output.say(str(error))
            lost.append(key.key_id)
    kept = [key for key in keys if key.key_id not in lost]
    if as_json:
        rows = [
            {"key_ID": k.key_id, "bits": 8 * len(k.key), "file": str(_path(out, k.key_id)), **k.extension} for k in kept
        ]
        output.emit(schema, {"keys": rows})
    else:
        for key in kept:
            click.echo(key.key_id)
    if lost:
        raise KeyStoreError(f"{len(lost)} of {len(keys)} keys were delivered and could not be written")
