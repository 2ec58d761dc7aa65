"""`qkd demo`: the whole thing on one machine, with real processes, real sockets and real certificates.

Source, Alice and Bob run as processes of their own in a temporary folder; this process only watches their events and
then plays two applications that fetch the same keys over ETSI GS QKD 014.
"""

from __future__ import annotations

import secrets
import shutil
import signal
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import click

from cli import method_option, output, protocol_option
from cli.children import Children, free_ports
from qkd.errors import PeerUnreachable, QkdError

SAE_A, SAE_B = "sae-a", "sae-b"
KEYS_EACH_WAY = 2


@dataclass(slots=True)
class _Progress:
    """What the stations' events have said so far."""

    started: float = field(default_factory=time.monotonic)
    blocks: dict[str, dict[int, dict[str, Any]]] = field(default_factory=lambda: {"alice": {}, "bob": {}})
    abort: dict[str, Any] | None = None
    method: str = ""
    alarms: set[str] = field(default_factory=set)
    last: dict[str, tuple[float, dict[str, Any]]] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def finished(self) -> list[dict[str, Any]]:
        """Alice's reports of the blocks that both stations hold."""
        return [report for number, report in self.blocks["alice"].items() if number in self.blocks["bob"]]


@click.command("demo")
@protocol_option.protocol
@click.option("--scenario", help="A scenario file or the name of a shipped one; default: the protocol's metro link.")
@click.option("--eve", type=click.FloatRange(0, 1), default=0.0, help="Fraction of Bob's photons that Eve intercepts.")
@click.option("--blocks", type=click.IntRange(1), default=1, show_default=True, help="Blocks to make.")
@click.option("--block-bits", type=click.IntRange(5000), default=200_000, show_default=True, help="Sifted bits.")
@method_option.reconciliation
@click.option("--seed", type=click.IntRange(0), help="Seed of the simulated photons; drawn and printed when absent.")
@click.option("--timeout", type=click.FloatRange(1), default=55.0, show_default=True, help="Give up after this, s.")
@click.option("--keep", is_flag=True, help="Keep the temporary folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    protocol: str,
    scenario: str | None,
    eve: float,
    blocks: int,
    block_bits: int,
    reconciliation: str,
    seed: int | None,
    timeout: float,
    keep: bool,
    as_json: bool,
) -> None:
    """Run source, Alice, Bob and their key APIs, and fetch the same keys at both ends.

    Ends with "keys match" and exit code 0. With --eve 1 the error rate rises to 25 %, S falls to 1.4 where there is a
    Bell test, no key is made and the exit code is 3.

    \b
    Example:  qkd demo --eve 1
    """
    if seed is None:
        seed = secrets.randbits(32)
        output.say(f"seed {seed}")
    signal.signal(signal.SIGTERM, _interrupted)
    folder = Path(tempfile.mkdtemp(prefix="qkd-demo-"))
    try:
        ports = _prepare(folder, timeout, protocol, block_bits, reconciliation)
        with Children(folder) as children:
            _start(children, scenario or protocol_option.SCENARIOS[protocol], seed, eve, ports)
            progress = _watch(children, blocks, timeout)
            matched = 0 if progress.abort else _fetch_keys(folder, ports)
    finally:
        if keep:
            output.say(f"kept {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    _report(progress, protocol, matched, as_json)


def _interrupted(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _prepare(folder: Path, timeout: float, protocol: str, block_bits: int, reconciliation: str) -> dict[str, int]:
    """Certificates, pre-shared secret and two configurations; returns the ports."""
    from qkd.kms.pki import Authority, PeerKind
    from qkd.kms.secretfile import create_secret_file

    names = ["alice_feed", "bob_feed", "line", "alice", "bob"]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    authority = Authority.create(folder)
    for kme in ("alice", "bob"):
        authority.issue(PeerKind.KME, kme)
    for sae in (SAE_A, SAE_B):
        authority.issue(PeerKind.SAE, sae)
    create_secret_file(folder / "pre-shared", 16384)
    for role, peer, local, remote in (("alice", "bob", SAE_A, SAE_B), ("bob", "alice", SAE_B, SAE_A)):
        (folder / f"{role}.toml").write_text(
            f'role = "{role}"\n'
            f'[feed]\naddress = "127.0.0.1:{ports[f"{role}_feed"]}"\n'
            f'[line]\naddress = "127.0.0.1:{ports["line"]}"\npatience_s = {timeout}\n'
            f'[tls]\ncertificate = "{role}.crt"\nkey = "{role}.key"\nauthority = "ca.crt"\n'
            f'[store]\npath = "{role}.db"\nmaster_key = "{role}.master"\npre_shared = "pre-shared"\n'
            f'[api]\nlisten = "127.0.0.1:{ports[role]}"\npeer = "https://127.0.0.1:{ports[peer]}"\n'
            f'kme_id = "{role}"\npeer_kme_id = "{peer}"\nlocal_saes = ["{local}"]\nremote_saes = ["{remote}"]\n'
            f'[session]\nprotocol = "{protocol}"\nblock_bits = {block_bits}\nreconciliation = "{reconciliation}"\n'
            # Somebody watches: a few per mille of key are not worth a thousand rounds more.
            "reconciliation_seconds = 1.0\n"
        )
    return ports


def _start(children: Children, scenario: str, seed: int, eve: float, ports: dict[str, int]) -> None:
    path = Path(scenario)
    children.start(
        "source",
        "source",
        str(path.resolve()) if path.exists() else scenario,
        "--seed",
        str(seed),
        "--eve",
        str(eve),
        "--alice-port",
        str(ports["alice_feed"]),
        "--bob-port",
        str(ports["bob_feed"]),
    )
    # The stations would retry, but a tagger is switched on before its station.
    children.next_event(30)
    for role in ("alice", "bob"):
        children.start(role, "node", f"{role}.toml")


def _watch(children: Children, blocks: int, timeout: float) -> _Progress:
    """Follow the stations until they hold enough blocks, or one had to be aborted.

    Raises:
        PeerUnreachable: nothing came of it in time.
    """
    progress = _Progress()
    while progress.seconds < timeout:
        event = children.next_event(timeout - progress.seconds)
        if event is None:
            break
        _note(progress, *event)
        if progress.abort or len(progress.finished) >= blocks:
            return progress
    raise PeerUnreachable(
        f"no key after {progress.seconds:.0f} s",
        hint="a first run compiles kernels: try `qkd warmup` first, or a longer --timeout",
    )


def _note(progress: _Progress, name: str, event: dict[str, Any]) -> None:
    kind = event.get("event")
    if kind == "ready":
        progress.last[name] = (progress.seconds, {"detections": 0, "coincidences": 0})
        output.say(f"{progress.seconds:5.1f} s  {name} is up")
    elif kind == "line" and event["state"] == "up" and name == "bob":
        output.say(f"{progress.seconds:5.1f} s  the classical line is up")
    elif kind == "progress":
        _note_rates(progress, name, event)
    elif kind == "block":
        progress.blocks[name][event["block"]] = event
        if name == "alice":
            if event["reconciliation"] != progress.method:
                progress.method = event["reconciliation"]
                output.say(f"{progress.seconds:5.1f} s  {progress.method}: {event['reconciliation_reason']}")
            bell = f", S {event['chsh_s']:.3f} +- {event['chsh_s_error']:.3f}" if event["chsh_s"] is not None else ""
            output.say(
                f"{progress.seconds:5.1f} s  block {event['block']}: {event['sifted_z'] + event['sifted_x']} sifted,"
                f" QBER Z {event['qber_z']:.2%} X {event['qber_x']:.2%}{bell}, f {event['f']:.3f},"
                f" {event['secret_bits']} secret bits"
            )
    elif kind == "alarm":
        progress.alarms.add(event["monitor"])
        output.say(f"{progress.seconds:5.1f} s  alarm at {name}: {event['text']}")
    elif kind == "abort":
        progress.abort = progress.abort or event


def _note_rates(progress: _Progress, name: str, event: dict[str, Any]) -> None:
    """Rates over the second since a station's last report; one line for both, when Alice's comes in."""
    now, (then, before) = progress.seconds, progress.last[name]
    progress.last[name] = (now, event)
    rate = {key: (event[key] - before[key]) / max(now - then, 0.1) / 1000 for key in ("detections", "coincidences")}
    progress.rates[name] = rate["detections"]
    if name == "alice":
        output.say(
            f"{now:5.1f} s  alice {rate['detections']:.0f} kcps, bob {progress.rates.get('bob', 0.0):.0f} kcps,"
            f" coincidences {rate['coincidences']:.1f} kcps"
        )


def _fetch_keys(folder: Path, ports: dict[str, int]) -> int:
    """Play two applications: each asks its own key manager for keys, the other fetches them by ID.

    Returns:
        How many keys were equal at both ends.

    Raises:
        QkdError: a key manager refused, or keys differ.
    """
    from qkd.bits import same
    from qkd.kms.client import Etsi014Client

    def client(sae: str, role: str) -> Etsi014Client:
        files = (folder / f"{sae}.crt", folder / f"{sae}.key", folder / "ca.crt")
        return Etsi014Client(f"https://127.0.0.1:{ports[role]}", *files, kme_id=role)

    matched = 0
    a, b = client(SAE_A, "alice"), client(SAE_B, "bob")
    for master, slave, at_master, at_slave in ((SAE_A, SAE_B, a, b), (SAE_B, SAE_A, b, a)):
        given = at_master.enc_keys(slave, number=KEYS_EACH_WAY)
        fetched = {k.key_id: k.key for k in at_slave.dec_keys(master, [k.key_id for k in given])}
        for key in given:
            if not same(key.key, fetched[key.key_id]):
                raise QkdError(f"key {key.key_id} differs between the two ends: this must never happen")
            matched += 1
        output.say(f"{master} asked for {len(given)} keys, {slave} fetched the same")
    return matched


def _report(progress: _Progress, protocol: str, matched: int, as_json: bool) -> None:
    fields = _summary(progress, protocol, matched)
    if as_json:
        output.emit("qkd.demo.v1", fields)
    else:
        output.table([(name, _shown(value)) for name, value in fields.items() if value is not None])
    if progress.abort:
        output.say(f"no key: {progress.abort['text']}")
        raise click.exceptions.Exit(_abort_code(progress.abort["reason"]))
    if not as_json:
        click.echo("keys match")


def _abort_code(reason: str) -> output.Exit:
    from qkd import errors

    kind = getattr(errors, reason, QkdError)
    return output.exit_code(kind.__new__(kind))


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def _counts(event: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """The fields of a block's report, lists as the tuples that they were."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in event.items() if k in names}


def _summary(progress: _Progress, protocol: str, matched: int) -> dict[str, Any]:
    """The stable fields; with no key, what the abort said."""
    from qkd.session import BlockReport, summarise

    names = set(BlockReport.__dataclass_fields__)
    reports = [BlockReport(**_counts(event, names)) for event in progress.finished]
    fields = summarise(reports, protocol=protocol, simulated=True, keys_match=matched > 0, seconds=progress.seconds)
    if progress.abort:
        fields |= {k: progress.abort[k] for k in output.ABORT_FIGURES if k in progress.abort}
        fields |= {"abort": progress.abort["reason"], "abort_text": progress.abort["text"]}
    if progress.finished:
        fields |= {name: progress.finished[-1][name] for name in ("eps_spent", "eps_budget")}
    return fields | {"alarms": sorted(progress.alarms), "blocks": len(reports), "keys_fetched": matched}
