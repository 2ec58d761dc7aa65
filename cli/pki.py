"""`qkd pki`: certificates for key managers and applications, and what a link's first authentication needs."""

from __future__ import annotations

from pathlib import Path

import click

from cli import output
from qkd.exchange.identity import fingerprint
from qkd.kms import pki
from qkd.kms.identities import ALGORITHM, create_identity, is_public_key, load_public
from qkd.kms.secretfile import create_secret_file

_PATH = click.Path(path_type=Path)


@click.group()
def command() -> None:
    """Certificates for key managers (KME) and applications (SAE).

    \b
    Example:  qkd pki init pki
              qkd pki issue pki --kme alice --host alice.example.org
              qkd pki issue pki --sae alice-app
              qkd pki psk --out pre-shared
    """


@command.command()
@click.argument("folder", metavar="DIR", type=_PATH)
@click.option("--days", type=float, default=3650, show_default=True, help="How long it is valid.")
@click.option("--force", is_flag=True, help="Replace what is there; its certificates become void.")
def init(folder: Path, days: float, force: bool) -> None:
    """Make a certificate authority in DIR: ca.crt for everybody, ca.key for nobody else.

    \b
    Example:  qkd pki init pki
    """
    authority = pki.Authority.create(folder, days=days, force=force)
    click.echo(authority.certificate)
    output.say(f"keep {folder / 'ca.key'} offline; every node and application needs ca.crt")


@command.command()
@click.argument("folder", metavar="DIR", type=_PATH)
@click.option("--kme", metavar="ID", help="For a key manager: may serve and call.")
@click.option("--sae", metavar="ID", help="For an application: may call.")
@click.option("--host", "hosts", metavar="NAME", multiple=True, help="Where the KME answers; repeatable.")
@click.option("--days", type=float, default=365, show_default=True, help="How long it is valid.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
def issue(folder: Path, kme: str | None, sae: str | None, hosts: tuple[str, ...], days: float, force: bool) -> None:
    """Make DIR/ID.crt and DIR/ID.key (mode 0600), signed by the authority in DIR.

    Without --host a key manager's certificate is for localhost and 127.0.0.1; with it, for these as well.

    \b
    Example:  qkd pki init pki && qkd pki issue pki --kme alice --host alice.example.org
    """
    if (kme is None) == (sae is None):
        raise click.UsageError("name exactly one of --kme ID and --sae ID")
    if sae is not None and hosts:
        raise click.UsageError("--host goes with --kme: an application does not serve")
    kind, identifier = (pki.PeerKind.KME, kme) if kme is not None else (pki.PeerKind.SAE, sae or "")
    names = tuple(dict.fromkeys((*hosts, "localhost", "127.0.0.1")))
    files = pki.Authority.load(folder).issue(kind, identifier, hosts=names, days=days, force=force)
    click.echo(files.certificate)
    click.echo(files.key)


@command.command()
@click.argument("certificate", metavar="CERT", type=_PATH)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def show(certificate: Path, as_json: bool) -> None:
    """Who a certificate belongs to, until when, and its fingerprint; of a public key from `qkd pki identity`, that.

    \b
    Example:  qkd pki init pki && qkd pki show pki/ca.crt
    """
    if is_public_key(certificate):
        _show_identity(certificate, as_json)
        return
    info = pki.describe(certificate)
    fields = {
        "kind": info.kind,
        "id": info.id,
        "issuer": info.issuer,
        "fingerprint_sha256": info.fingerprint_sha256,
        "not_before": info.not_before.isoformat(),
        "not_after": info.not_after.isoformat(),
    }
    if as_json:
        output.emit("qkd.pki.show.v1", {**fields, "hosts": list(info.hosts)})
    else:
        output.table([*fields.items(), ("hosts", " ".join(info.hosts) or "-")])


@command.command()
@click.option("--out", metavar="FILE", type=_PATH, required=True, help="Where to; must not exist.")
@click.option("--bytes", "nbytes", type=int, default=16384, show_default=True, help="Length of the secret.")
def psk(out: Path, nbytes: int) -> None:
    """Make a file of fresh secret bytes (mode 0600): the pre-shared secret of a link.

    Both nodes need the same file for their first authentication; carry it by hand or over a line you trust.
    With --bytes 32 it makes a master key for one node's key store, which stays at that node.

    \b
    Example:  qkd pki psk --out pre-shared
    """
    create_secret_file(out, nbytes)
    click.echo(out)
    output.say(f"{nbytes} secret bytes; whoever reads this file can pose as either node")


@command.command("identity")
@click.option("--out", metavar="FILE", type=_PATH, required=True, help="Where to; neither FILE nor FILE.pub may exist.")
def make_identity(out: Path) -> None:
    """Make a station's signing key (ML-DSA-87): FILE for itself (mode 0600), FILE.pub to be carried to the peer.

    Two stations that hold each other's FILE.pub begin their link without a pre-shared file; see [bootstrap] in
    `qkd config show`. Carry FILE.pub over a path you trust, or compare fingerprints over one.

    \b
    Example:  qkd pki identity --out alice.id
    """
    files = create_identity(out)
    click.echo(files.private)
    click.echo(files.public)
    output.say(f"fingerprint {files.fingerprint_sha256}; whoever reads {out} can pose as this station")


def _show_identity(path: Path, as_json: bool) -> None:
    fields = {"kind": "identity", "algorithm": ALGORITHM, "fingerprint_sha256": fingerprint(load_public(path)).hex()}
    if as_json:
        output.emit("qkd.pki.show.v1", fields)
    else:
        output.table([*fields.items()])
