"""Two key managers in one process for tests: real stores, real certificates, real sockets on free ports."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from qkd.block import SecretBlock
from qkd.exchange.steps import Role
from qkd.kms import pki
from qkd.kms.agreement import KeyManager, PeerClient
from qkd.kms.client import Etsi014Client
from qkd.kms.etsi014 import KmeConfig
from qkd.kms.key import Assignment
from qkd.kms.server import build_app, serve
from qkd.kms.store import KeyStore
from qkd.session import BlockReport

R = TypeVar("R")

SAES = {Role.ALICE: frozenset({"alice-1", "alice-2"}), Role.BOB: frozenset({"bob-1", "bob-2"})}
KME_ID = {Role.ALICE: "kme-a", Role.BOB: "kme-b"}


def block(number: int, units: int) -> SecretBlock:
    """A block of `units` units of 256 bits, the same at both nodes."""
    return SecretBlock(
        number=number,
        session_id=b"test session 016",
        key=hashlib.shake_256(f"test block {number}".encode()).digest(32 * units),
        bits=256 * units,
        refill_alice=0,
        refill_bob=0,
        report=BlockReport(
            block=number, sifted_z=1000, sifted_x=500, errors_z=20, errors_x=15, eps_sec=1e-10, label="test"
        ),
        simulated=True,
    )


class FaultyPeer:
    """A `Peer` whose calls can be made to fail before the peer hears them, or after it has acted."""

    def __init__(self, inner: PeerClient) -> None:
        self.inner = inner
        self.before: BaseException | None = None
        self.after: BaseException | None = None

    async def assign(self, assignments: Sequence[Assignment]) -> None:
        if self.before is not None:
            raise self.before
        await self.inner.assign(assignments)
        if self.after is not None:
            raise self.after

    async def void(self, assignments: Sequence[Assignment]) -> None:
        if self.before is not None:
            raise self.before
        await self.inner.void(assignments)


@dataclass
class Certificates:
    """One authority for both sites, and a stranger's."""

    folder: Path

    def __post_init__(self) -> None:
        authority = pki.Authority.create(self.folder / "pki")
        foreign = pki.Authority.create(self.folder / "foreign")
        for kme in KME_ID.values():
            authority.issue(pki.PeerKind.KME, kme)
        for sae in (*SAES[Role.ALICE], *SAES[Role.BOB], "stranger"):
            authority.issue(pki.PeerKind.SAE, sae)
        authority.issue(pki.PeerKind.KME, "kme-x")
        authority.issue(pki.PeerKind.SAE, "expired", days=-1)
        foreign.issue(pki.PeerKind.SAE, "alice-1")
        foreign.issue(pki.PeerKind.KME, "kme-a")

    def of(self, name: str, *, authority: str = "pki") -> tuple[Path, Path, Path]:
        """Certificate and key of `name`, and the authority that vouches for the KMEs."""
        folder = self.folder / authority
        return folder / f"{name}.crt", folder / f"{name}.key", self.folder / "pki" / "ca.crt"


class Kme:
    """One key manager over one store; can be stopped, crashed and started again on its port."""

    def __init__(self, kmes: TwoKmes, role: Role) -> None:
        self.kmes, self.role, self.id = kmes, role, KME_ID[role]
        self.port = 0
        self.config = KmeConfig(
            kme_id=self.id, peer_kme_id=KME_ID[role.peer], local_saes=SAES[role], remote_saes=SAES[role.peer]
        )
        self.open_store()

    def open_store(self) -> None:
        path = self.kmes.folder / f"{self.id}.db"
        self.store = KeyStore.open(path, hashlib.sha256(self.id.encode()).digest(), role=self.role)

    async def start(self, peer_port: int) -> None:
        certificates = self.kmes.certificates.of(self.id)
        self.peer = FaultyPeer(
            PeerClient(f"https://127.0.0.1:{peer_port}", KME_ID[self.role.peer], pki.client_context(*certificates))
        )
        self.manager = KeyManager(self.config, self.store, self.peer)
        await self.manager.recover()
        self.app: web.Application = build_app(self.manager)
        context = pki.server_context(*certificates)
        self.runner, self.port = await serve(self.app, "127.0.0.1", self.port, context)

    async def stop(self) -> None:
        await self.runner.cleanup()
        await self.manager.close()
        await self.peer.inner.close()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"


class TwoKmes:
    """Two sites, their stores filled with the same blocks; use as a context manager."""

    def __init__(self, folder: Path, certificates: Certificates) -> None:
        self.folder, self.certificates = folder, certificates
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.a, self.b = Kme(self, Role.ALICE), Kme(self, Role.BOB)
        self._clients: list[Etsi014Client] = []

    def __enter__(self) -> TwoKmes:
        self._thread.start()
        # B first on a free port, with A's port still unknown; then both know each other.
        self.run(self.b.start(1))
        self.run(self.a.start(self.b.port))
        self.run(self.b.stop())
        self.run(self.b.start(self.a.port))
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.close()
        for kme in (self.a, self.b):
            self.run(kme.stop())
            kme.store.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine on the servers' loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=30)

    def fill(self, number: int, units: int) -> None:
        """Commit the same block at both nodes: half of the units are each node's."""
        for kme in (self.a, self.b):
            kme.store.prepare(block(number, units))
            kme.store.commit(number)

    def client(self, name: str, **options: Any) -> Etsi014Client:
        """The SAE's client at its own KME."""
        kme = self.b if name.startswith("bob") else self.a
        client = Etsi014Client(kme.url, *self.certificates.of(name), **{"kme_id": kme.id, **options})
        self._clients.append(client)
        return client
