"""`qkd pads`: what is left of a link's life, and what only a person may decide about it.

All three work on the store of a station that is stopped: a running node holds its store's lock, and says the same in
its events.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli import output

_CONFIG = click.argument("config", type=click.Path(path_type=Path))
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")


@click.group("pads")
def command() -> None:
    """One-time pads and epsilon budget of a station: show, release the reserve, accept the clock.

    \b
    Example:  qkd pads status alice.toml
    """


@command.command("status")
@_CONFIG
@_JSON
def status(config: Path, as_json: bool) -> None:
    """Pads of both senders, and how much of the epsilon budget is spent.

    \b
    Example:  qkd pads status alice.toml --json
    """
    from qkd.node import config as configuration
    from qkd.node.service import life_of, unlock_store

    loaded = configuration.load(config)
    _require_store(loaded)
    with unlock_store(loaded) as store:
        account = store.account()
        fields = life_of(store, loaded.session) | {
            "role": loaded.role.value,
            "tags_sent": account.tags_sent,
            "tags_checked": account.tags_checked,
            "eps_runs": account.eps_runs,
            "eps_tags": account.eps_tags,
            "blocks": len(store.blocks()),
        }
    if as_json:
        output.emit("qkd.pads.status.v1", fields)
    else:
        output.table(_lines(fields))


@command.command("release")
@_CONFIG
@_JSON
def release(config: Path, as_json: bool) -> None:
    """Let tags take the reserve of pads, until refills have doubled it; do it at both stations.

    First find out why blocks failed at their tags: whoever did it can spend the reserve as well.

    \b
    Example:  qkd pads release alice.toml
    """
    from qkd.node import config as configuration
    from qkd.node.service import unlock_store

    loaded = configuration.load(config)
    _require_store(loaded)
    with unlock_store(loaded) as store:
        released = {sender.value: count for sender, count in store.release_reserve().items()}
    if as_json:
        output.emit("qkd.pads.release.v1", {"released": released})
    else:
        output.table([(sender, f"{count} pads released") for sender, count in released.items()])


@command.command("accept-clock")
@_CONFIG
@_JSON
def accept_clock(config: Path, as_json: bool) -> None:
    """Take this machine's clock as right although the store has seen a later time.

    For a clock that was ahead and is right now. The times already noted with keys stay as they are.

    \b
    Example:  qkd pads accept-clock alice.toml
    """
    from qkd.node import config as configuration
    from qkd.node.service import unlock_store

    loaded = configuration.load(config)
    _require_store(loaded)
    with unlock_store(loaded, accept_clock=True):
        pass
    if as_json:
        output.emit("qkd.pads.accept-clock.v1", {"accepted": True})
    else:
        output.say("the clock is accepted as it is")


def _require_store(loaded: Any) -> None:
    """A store is made by `qkd node`, not by looking at one."""
    from qkd.errors import KeyStoreError

    path = loaded.path(loaded.store.path)
    if not path.exists():
        raise KeyStoreError(f"there is no key store {path}", hint="it is made when the node starts for the first time")


def _lines(fields: dict[str, Any]) -> list[tuple[str, str]]:
    lines = [("role", fields["role"])]
    for sender, stock in fields["pads"].items():
        lines.append((f"pads of {sender}", f"{stock['ordinary']} left, {stock['locked']} locked, {stock['used']} used"))
    lines.append(("epsilon spent", f"{fields['eps_spent']:.4g} of {fields['eps_budget']:.4g}"))
    lines.append(("blocks", f"{fields['blocks']} committed of {fields['runs_begun']} begun"))
    lines.append(("blocks left", f"about {fields['runs_left']} with this eps_sec"))
    return lines
