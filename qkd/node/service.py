"""`qkd node`: feed, line, store and key API of one station, put together from its configuration.

Events for people and programs leave as one dictionary each (`emit`): ready, begun, line, progress, block, alarm, abort,
ended. `begun` says that the link's first keys were made on the line, and names them.
`progress` and `ended` carry the feed's counters (`distribution.health`) in "feed"; `block` and `ended` say how much of
the link's life is used (`life_of`).
Keys that are in store are served even when no new ones can be made.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from aiohttp.web import AppRunner

from distribution.delivery import Site, TagSource, open_source
from distribution.monitors.finding import Finding
from qkd.confirmation import run_epsilon
from qkd.errors import KeyStoreError, ParameterError, QkdError
from qkd.exchange.identity import Identity
from qkd.exchange.steps import Role
from qkd.kms import pki
from qkd.kms.agreement import KeyManager, PeerClient
from qkd.kms.etsi014 import KmeConfig
from qkd.kms.identities import load_identity
from qkd.kms.preshared import deal_out
from qkd.kms.secretfile import create_secret_file, load_secret_file
from qkd.kms.server import build_app, serve
from qkd.kms.store import KeyStore
from qkd.node.config import Address, NodeConfig
from qkd.node.lines import Caller, LineKeeper, Listener, cannot_listen
from qkd.node.noise import open_secrets
from qkd.node.stationloop import StationLoop
from qkd.randomness import SecretBits
from qkd.session import BlockReport, SessionParameters
from qkd.station import Station

log = logging.getLogger("qkd.node")

Emit = Callable[[dict[str, Any]], None]

MASTER_KEY_BYTES = 32
PROGRESS_S = 1.0


def open_store(config: NodeConfig) -> KeyStore:
    """Open the station's key store; on the first start make its master key and install the pre-shared secret.

    Without a pre-shared secret the link begins on the line; see `open_identity`.

    Raises:
        ParameterError: secret files missing, readable by others or too short. KeyStoreError: the store is in use,
            damaged, was made with another master key or pre-shared secret, or its link began the other way.
    """
    path, key_file = config.path(config.store.path), config.path(config.store.master_key)
    if not key_file.exists():
        if path.exists():
            raise ParameterError(
                f"the key store {path} is there, but its master key {key_file} is not",
                hint="restore the master key from its backup; without it the store cannot be read",
            )
        create_secret_file(key_file, MASTER_KEY_BYTES)
    store = unlock_store(config)
    try:
        if config.bootstrap is None:
            deal_out(config.path(config.store.pre_shared), store)
        else:
            store.check_can_begin()
    except QkdError:
        store.close()
        raise
    return store


def unlock_store(config: NodeConfig, *, accept_clock: bool = False) -> KeyStore:
    """Open the station's key store as it is; raises the same."""
    return KeyStore.open(
        config.path(config.store.path),
        load_secret_file(config.path(config.store.master_key), MASTER_KEY_BYTES),
        role=config.role,
        unit_bits=config.api.key_bits,
        eps_budget=config.store.eps_budget,
        pad_reserve=config.store.pad_reserve,
        clock_tolerance_s=config.store.clock_tolerance_s,
        accept_clock=accept_clock,
    )


def life_of(store: KeyStore, params: SessionParameters) -> dict[str, Any]:
    """How much of the link's life is used: the epsilon ledger and the pads of both senders, for JSON."""
    account = store.account()
    return {
        "eps_spent": account.spent,
        "eps_budget": account.budget,
        "runs_begun": account.runs,
        "runs_left": account.runs_left(run_epsilon(params)),
        "pads": {sender.value: asdict(store.pad_stock(sender)) for sender in Role},
    }


def open_identity(config: NodeConfig) -> Identity | None:
    """The station's signing key and the peer's public key, where the link begins with them; raises ParameterError."""
    if config.bootstrap is None:
        return None
    return load_identity(config.path(config.bootstrap.signing_key), config.path(config.bootstrap.peer))


def open_noise(config: NodeConfig) -> SecretBits:
    """The station's secret randomness; raises ParameterError or EntropyFailed."""
    device = config.randomness.device
    return open_secrets(config.path(device) if device else None, config.randomness.claim)


def open_feed(config: NodeConfig) -> TagSource:
    """The station's own tagger; raises FeedError, TagFormatError or ParameterError."""
    driver, options = config.feed.source
    return open_source(driver, options, Site(config.role.value, config.folder))


class Node:
    """One running station.

    Args:
        config: its configuration.
        emit: receives every event.
    """

    def __init__(self, config: NodeConfig, emit: Emit) -> None:
        self._config = config
        self._emit = emit
        self._identity = open_identity(config)
        self._secrets = open_noise(config)
        self._store = open_store(config)
        self._loop: StationLoop | None = None
        self._last_line = ("", "")
        self._told: list[Finding] = []

    async def run(self) -> None:
        """Serve until cancelled; the key API goes on when a recording has ended.

        Raises:
            QkdError: the station cannot work at all (no feed, ports taken, certificates unusable).
        """
        try:
            await self._run()
        finally:
            if self._loop is not None:
                self._loop.source.close()
            self._store.close()

    async def _run(self) -> None:
        source = await asyncio.to_thread(open_feed, self._config)
        self._loop = loop = StationLoop(
            self._config.role,
            self._config.session,
            self._store,
            self._secrets,
            source,
            lambda: open_feed(self._config),
            on_block=self._on_block,
            on_abort=self._on_abort,
            on_line=self._on_line,
            limits=self._config.monitors,
            assumption_limits=self._config.assumptions,
            identity=self._identity,
            on_begun=self._on_begun,
        )
        lines = self._line_keeper(loop)
        await lines.open()
        manager, peer, runner = await self._serve_keys()
        self._emit({"event": "ready", "role": self._config.role.value, "simulated": source.simulated})
        tasks = [asyncio.create_task(self._watch(loop)), asyncio.create_task(self._use_lines(lines))]
        try:
            await self._first_failure(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await manager.close()
            await runner.cleanup()
            await peer.close()

    def _line_keeper(self, loop: StationLoop) -> LineKeeper:
        line, peer = self._config.line, self._config.api.peer_kme_id
        if self._config.role is Role.ALICE:
            return Listener(loop, line, self._tls(pki.server_context), peer)
        return Caller(loop, line, self._tls(pki.client_context), peer)

    async def _use_lines(self, lines: LineKeeper) -> None:
        """Make keys until a tagger has ended; the key API goes on serving what is in store."""
        await lines.serve()
        self._emit({"event": "ended", "feed": self._feed_health(), **self._life()})

    async def _first_failure(self, tasks: list[asyncio.Task[None]]) -> None:
        """Wait for ever, unless a task fails."""
        pending = set(tasks)
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()

    def _tls(self, make: Callable[..., ssl.SSLContext]) -> ssl.SSLContext:
        tls, path = self._config.tls, self._config.path
        return make(path(tls.certificate), path(tls.key), path(tls.authority))

    async def _serve_keys(self) -> tuple[KeyManager, PeerClient, AppRunner]:
        api = self._config.api
        kme = KmeConfig(
            kme_id=api.kme_id,
            peer_kme_id=api.peer_kme_id,
            local_saes=frozenset(api.local_saes),
            remote_saes=frozenset(api.remote_saes),
            key_size=api.key_bits,
            max_key_size=api.max_key_bits,
            max_key_per_request=api.max_keys_per_request,
            allow_self_pair=api.allow_self_pair,
        )
        peer = PeerClient(api.peer, api.peer_kme_id, self._tls(pki.client_context))
        manager = KeyManager(kme, self._store, peer)
        await manager.recover()
        where = Address.parse(api.listen)
        try:
            runner, _port = await serve(build_app(manager), where.host, where.port, self._tls(pki.server_context))
        except OSError as error:
            raise cannot_listen("the key API", where, error, "[api]") from error
        return manager, peer, runner

    def _feed_health(self) -> dict[str, int]:
        assert self._loop is not None
        return asdict(self._loop.feed_health)

    def _on_begun(self) -> None:
        self._emit({"event": "begun", "with": self._store.beginning.value, "link": self._store.link_id.hex()})

    def _on_line(self, state: str, why: str) -> None:
        """A lost line is news once, not at every attempt to call again."""
        if (state, why) != self._last_line:
            self._last_line = (state, why)
            self._emit({"event": "line", "state": state, "why": why})

    def _on_block(self, report: BlockReport) -> None:
        if self._loop is not None:
            self._tell_alarms(self._loop.station)
        stock = self._store.stored_key_count()
        rates = {"qber_z": report.qber_z, "qber_x": report.qber_x, "f": report.f, "eps_total": report.eps_total}
        figures = {**asdict(report), **rates, **report.bell_figures()}
        self._emit({"event": "block", **figures, "stored_keys": stock, **self._life()})

    def _life(self) -> dict[str, Any]:
        return life_of(self._store, self._config.session)

    def _on_abort(self, error: QkdError) -> None:
        numbers = {k: v for k, v in vars(error).items() if isinstance(v, int | float)}
        self._emit({"event": "abort", "reason": type(error).__name__, "text": str(error), **numbers})
        if isinstance(error, KeyStoreError):
            log.error("%s", error)

    def _tell_alarms(self, station: Station) -> None:
        """Every alarm of the station's monitors is told once."""
        for alarm in station.alarms:
            if alarm not in self._told:
                self._told.append(alarm)
                log.warning("alarm: %s", alarm.text)
                self._emit({"event": "alarm", **alarm.fields(), "text": alarm.text})

    async def _watch(self, loop: StationLoop) -> None:
        """Report running totals, and new alarms, once a second."""
        while True:
            await asyncio.sleep(PROGRESS_S)
            station = loop.station
            self._tell_alarms(station)
            totals = {name: getattr(station, name) for name in ("detections", "coincidences", "sifted")}
            self._emit({"event": "progress", **totals, "feed": self._feed_health()})
