"""`qkd session`: keys from two tag files, both engines in this process."""

from __future__ import annotations

import secrets
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import method_option, output, protocol_option
from qkd.reconciliation.choice import Method

if TYPE_CHECKING:
    from qkd.link import SessionRecord

PRE_SHARED_BYTES = 16384
MASTER_KEY_BYTES = 32


@click.command("session")
@click.option("--alice", "alice_file", type=click.Path(path_type=Path), required=True, help="Alice's tag file.")
@click.option("--bob", "bob_file", type=click.Path(path_type=Path), required=True, help="Bob's tag file.")
@protocol_option.protocol
@click.option("--state", type=click.Choice(["phi+", "phi-", "psi+", "psi-"]), default="phi+", show_default=True)
@click.option("--window-ps", type=int, default=1000, show_default=True, help="Coincidence window, full width.")
@click.option("--block-bits", type=int, default=200_000, show_default=True, help="Sifted bits per block.")
@click.option("--qber-limit", type=float, default=0.11, show_default=True, help="Abort above this error rate.")
@click.option("--eps-sec", type=float, default=1e-10, show_default=True, help="Secrecy parameter of a block.")
@method_option.reconciliation
@click.option(
    "--leak-model",
    type=click.Choice(["error_pattern_public", "one_way_parities", "both_directions"]),
    default="error_pattern_public",
    show_default=True,
    help="What of its disclosures the key pays for.",
)
@click.option("--uncertainty-s", type=float, default=1.0, show_default=True, help="The clocks differ by up to +- this.")
@click.option("--max-drift-ppm", type=float, default=10.0, show_default=True, help="Largest drift; a satellite: 30.")
@click.option(
    "--epoch-s", type=float, default=0.25, show_default=True, help="Time per announcement; 64 to find a clock."
)
@click.option("--mute-ps", type=int, default=50_000, show_default=True, help="Longest dead time of any detector, ps.")
@click.option("--simulated", is_flag=True, help="The tags are simulated (implied by a truth.json beside them).")
@click.option("--out", type=click.Path(path_type=Path), help="Keep the two key stores in this new folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    alice_file: Path,
    bob_file: Path,
    protocol: str,
    state: str,
    window_ps: int,
    block_bits: int,
    qber_limit: float,
    eps_sec: float,
    reconciliation: str,
    leak_model: str,
    uncertainty_s: float,
    max_drift_ppm: float,
    epoch_s: float,
    mute_ps: int,
    simulated: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Run both stations on two recordings, through the same engines as `qkd node`.

    \b
    Example:  qkd simulate metro --out run --seconds 4 && qkd session --alice run/alice.a1.ts --bob run/bob.a1.ts
    """
    from distribution.sources.replay import Replay
    from distribution.states import BellState
    from qkd.protocols import Protocol
    from qkd.reconciliation.ledger import LeakModel
    from qkd.session import SessionParameters

    params = SessionParameters(
        protocol=Protocol(protocol),
        state=BellState(state),
        window_ps=window_ps,
        bin_ps=min(125, window_ps),
        block_bits=block_bits,
        least_block_bits=min(5000, block_bits),
        qber_limit=qber_limit,
        eps_sec=eps_sec,
        reconciliation=Method(reconciliation),
        leak_model=LeakModel(leak_model),
        clock_uncertainty_s=uncertainty_s,
        max_drift_ppm=max_drift_ppm,
        epoch_s=epoch_s,
        mute_ps=mute_ps,
    )
    simulated = simulated or any((path.parent / "truth.json").exists() for path in (alice_file, bob_file))
    sources = (Replay.of_file(alice_file, simulated=simulated), Replay.of_file(bob_file, simulated=simulated))
    started = time.monotonic()
    if out is None:
        with tempfile.TemporaryDirectory(prefix="qkd-session-") as folder:
            record, life = _run(params, sources, Path(folder))
    else:
        out.mkdir(parents=True)
        record, life = _run(params, sources, out)
    _report(record, protocol, simulated, time.monotonic() - started, life, as_json)


def _run(params: Any, sources: tuple[Any, Any], folder: Path) -> tuple[SessionRecord, dict[str, float]]:
    """Both stations with a new key store each and a pre-shared secret made for this session; Alice's ledger, too."""
    from qkd.exchange.steps import Role
    from qkd.kms.secretfile import create_secret_file, load_secret_file
    from qkd.kms.store import KeyStore
    from qkd.link import Link, Side, run_to_end
    from qkd.randomness import OperatingSystemBits

    pre_shared = secrets.token_bytes(PRE_SHARED_BYTES)
    sides = []
    for role, source in zip((Role.ALICE, Role.BOB), sources, strict=True):
        master = folder / f"{role.value}.master"
        create_secret_file(master, MASTER_KEY_BYTES)
        store = KeyStore.open(folder / f"{role.value}.db", load_secret_file(master, MASTER_KEY_BYTES), role=role)
        store.install_pre_shared(pre_shared)
        sides.append((Side(source, store, OperatingSystemBits()), store))
    try:
        record = run_to_end(Link(params, sides[0][0], sides[1][0]))
        account = sides[0][1].account()
        return record, {"eps_spent": account.spent, "eps_budget": account.budget}
    finally:
        for _, store in sides:
            store.close()


def _report(
    record: SessionRecord, protocol: str, simulated: bool, seconds: float, life: dict[str, float], as_json: bool
) -> None:
    from qkd.bits import same
    from qkd.session import summarise

    if not record.outcomes and record.aborts:
        if as_json:
            _emit_abort(record, protocol, simulated, seconds)
        raise record.aborts[-1]
    match = all(same(a.block.key, b.block.key) for a, b in record.outcomes)
    fields = summarise(
        [a.block.report for a, _ in record.outcomes],
        protocol=protocol,
        simulated=simulated,
        keys_match=match,
        seconds=seconds,
    ) | {
        "blocks": len(record.outcomes),
        "aborted_blocks": len(record.aborts),
        **life,
        **_assumptions(record),
        **_alarms(record),
    }
    if as_json:
        output.emit("qkd.session.v1", fields)
    else:
        shown = {name: value for name, value in fields.items() if name not in _NUMBERS and value is not None}
        output.table([(name, _shown(value)) for name, value in shown.items()])
        click.echo("keys match" if match else "KEYS DIFFER")
    if not match:
        raise click.exceptions.Exit(output.Exit.NOT_AUTHENTIC)


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _emit_abort(record: SessionRecord, protocol: str, simulated: bool, seconds: float) -> None:
    from qkd.session import summarise

    error = record.aborts[-1]
    fields = summarise([], protocol=protocol, simulated=simulated, keys_match=False, seconds=seconds)
    fields |= {k: v for k, v in vars(error).items() if k in output.ABORT_FIGURES}
    fields |= _alarms(record)
    output.emit("qkd.session.v1", fields | {"abort": type(error).__name__, "abort_text": str(error)})


_NUMBERS = ("alarm_findings", "assumptions")
"""Fields for programs only: tables of numbers."""


def _assumptions(record: SessionRecord) -> dict[str, Any]:
    """What each station saw of its own assumptions in the last block, with its numbers."""
    from dataclasses import asdict

    last = zip(("alice", "bob"), record.outcomes[-1] if record.outcomes else (), strict=False)
    return {"assumptions": {station: [asdict(v) for v in o.block.report.assumptions] for station, o in last}}


def _alarms(record: SessionRecord) -> dict[str, Any]:
    """What the monitors of both stations raised: names, and findings in full."""
    findings = {role.value: alarms for role, alarms in record.alarms.items()}
    for station, alarms in findings.items():
        for alarm in alarms:
            output.say(f"alarm at {station}: {alarm.text}")
    return {
        "alarms": sorted({alarm.watch.value for alarms in findings.values() for alarm in alarms}),
        "alarm_findings": {station: [alarm.fields() for alarm in alarms] for station, alarms in findings.items()},
    }
