"""The two key managers agree on a key before either gives it away.

enc_keys at the master's KME is: reserve units here, durably; tell the peer, which assigns them durably to
the slave; only on its word deliver. So a key that an SAE holds can always be collected at the other end.
When the peer's word does not come, for whatever reason, the units are *taken back*: void at the peer first,
then void here, tried until it succeeds and again after a restart. A key is then lost at both ends, never
given out at one of them. While something waits to be taken back no new units are reserved, so an outage
costs only what was on its way.

    POST /peer/v1/assign   Units -> {}      POST /peer/v1/void   Units -> {}

Both carry identifiers only, no secret; both may be repeated. Void wins over an assign that arrives late.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import aiohttp
import msgspec

from qkd.errors import (
    KeyExhausted,
    KeyNotFound,
    ParameterError,
    PeerUnreachable,
    QkdError,
    RemoteProtocolError,
)
from qkd.kms import etsi014
from qkd.kms.client import require_kme
from qkd.kms.etsi014 import BadRequest, KeyRequest, KmeConfig, Status
from qkd.kms.key import Assignment, DeliveredKey

log = logging.getLogger("qkd.kms")

PEER_TIMEOUT_S = 3.0
OUTAGE_PATIENCE_S = 1.0  # how long enc_keys waits for old units to be taken back
RETRY_LEAST_S, RETRY_MOST_S = 0.1, 5.0
MOST_HELD_SELF_PAIR_KEYS = 1024


class Units(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of both messages between KMEs: which units make up which key, and for whom."""

    assignments: list[Assignment]


class Store(Protocol):
    """What the agreement needs of `qkd.kms.store.KeyStore`; every call is durable when it returns."""

    def reserve(self, master: str, slaves: tuple[str, ...], number: int, size_bits: int) -> list[Assignment]: ...
    def assign(self, assignments: Sequence[Assignment]) -> None: ...
    def deliver_reserved(self, key_ids: Sequence[str]) -> list[DeliveredKey]: ...
    def deliver_assigned(self, key_ids: Sequence[str], caller: str, *, master: str) -> list[DeliveredKey]: ...
    def void(self, key_ids: Sequence[str]) -> list[str]: ...
    def reserved(self) -> list[Assignment]: ...
    def stored_key_count(self, size_bits: int | None = None) -> int: ...


class Peer(Protocol):
    """The KME at the other end of the link.

    Each call returns when the peer has done it durably, and raises PeerUnreachable (it may or may not have
    done it) or RemoteProtocolError (it says that it did not).
    """

    async def assign(self, assignments: Sequence[Assignment]) -> None: ...
    async def void(self, assignments: Sequence[Assignment]) -> None: ...


class PeerClient:
    """The peer over HTTPS with certificates on both sides; connections stay open.

    Args:
        base_url: `https://host:port` of the peer KME.
        kme_id: whom its certificate must name, in the SAN URI `urn:qkd:kme:ID`.
        context: client context with our KME's certificate; it is changed to check the peer's identity.
    """

    def __init__(self, base_url: str, kme_id: str, context: ssl.SSLContext) -> None:
        require_kme(context, kme_id)
        self._base_url = base_url.rstrip("/")
        self._kme_id = kme_id
        self._context = context
        self._session: aiohttp.ClientSession | None = None

    async def assign(self, assignments: Sequence[Assignment]) -> None:
        """See `Peer`."""
        await self._post("assign", assignments)

    async def void(self, assignments: Sequence[Assignment]) -> None:
        """See `Peer`."""
        await self._post("void", assignments)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, what: str, assignments: Sequence[Assignment]) -> None:
        body = msgspec.json.encode(Units(list(assignments)))
        url = f"{self._base_url}/peer/v1/{what}"
        try:
            async with self._open_session().post(
                url, data=body, headers={"Content-Type": "application/json"}
            ) as answer:
                text = await answer.content.read(4096)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise PeerUnreachable(
                f"KME {self._kme_id} did not confirm: {_reason(error)}",
                hint=f"is a key manager with that ID running at {self._base_url}?",
            ) from error
        if answer.status != 200:
            raise RemoteProtocolError(
                f"KME {self._kme_id} refused to {what}: HTTP {answer.status}: {text.decode(errors='replace')}"
            )

    def _open_session(self) -> aiohttp.ClientSession:
        # Made on first use, because a session belongs to the running event loop.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._context, limit=32),
                timeout=aiohttp.ClientTimeout(total=PEER_TIMEOUT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


def _reason(error: Exception) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__


class KeyManager:
    """One KME: what its SAEs may ask of it, and what its peer may.

    Args:
        config: who we are and our bounds.
        store: this node's key store; its calls block, so they run in threads.
        peer: the KME at the other end.
    """

    def __init__(self, config: KmeConfig, store: Store, peer: Peer) -> None:
        self.config = config
        self._store = store
        self._peer = peer
        self._taking_back: dict[str, Assignment] = {}
        self._task: asyncio.Task[None] | None = None
        self._self_pair: dict[tuple[str, str], DeliveredKey] = {}

    # --- for SAEs ---

    async def status(self, caller: str, slave: str) -> Status:
        """Clause 5.2. Raises NotAuthorised, BadRequest."""
        etsi014.check_master(self.config, caller, slave)
        stored = await asyncio.to_thread(self._store.stored_key_count, self.config.key_size)
        return etsi014.status_of(self.config, caller, slave, stored)

    async def enc_keys(self, caller: str, slave: str, request: KeyRequest) -> list[DeliveredKey]:
        """New keys for `caller`, which `slave` can collect at the peer from now on (clause 5.3).

        Raises:
            NotAuthorised: caller not registered. BadRequest: slave unknown. KeyExhausted: not enough key.
            PeerUnreachable: the peer did not confirm; the keys are void at both ends.
        """
        etsi014.check_master(self.config, caller, slave)
        await self._wait_until_taken_back()
        if slave == caller:
            return await self._enc_self_pair(caller, request)
        return await self._agreed(self._peer.assign, caller, slave, request)

    async def dec_keys(self, caller: str, master: str, key_ids: Sequence[str]) -> list[DeliveredKey]:
        """Keys that `master` got and that name `caller` as their slave; all or none (clause 5.4).

        Raises:
            NotAuthorised: caller not registered, or one of the keys is not for it.
            KeyNotFound: one of them is not here, was collected before, or has another master.
        """
        etsi014.check_registered(self.config, caller)
        if master == caller:
            return self._dec_self_pair(caller, key_ids)
        return await asyncio.to_thread(self._store.deliver_assigned, key_ids, caller, master=master)

    # --- for the peer KME ---

    async def assign_for_peer(self, assignments: Sequence[Assignment]) -> None:
        """The peer has reserved these for one of its masters; keep them for our slaves.

        Raises:
            BadRequest: an SAE is not one of ours or of the peer's. KeyNotFound: such units are not free here.
        """
        for item in assignments:
            if item.master not in self.config.remote_saes:
                raise BadRequest(f"master SAE {item.master[:64]!r} is not known to KME {self.config.kme_id}")
            for slave in item.slaves:
                if slave not in self.config.local_saes:
                    raise BadRequest(f"slave SAE {slave[:64]!r} is not registered at KME {self.config.kme_id}")
        await self._assign(assignments)

    async def void_for_peer(self, assignments: Sequence[Assignment]) -> None:
        """The peer takes these back; afterwards nobody can collect them here, whatever came before.

        Units that are still free are assigned first, so that they leave the stock here as they left it
        there and an assign that overtakes this call finds nothing to take.
        """
        for item in assignments:
            try:
                await self._assign([item])
            except KeyNotFound:
                continue  # void or collected already, or not the peer's to void
            await asyncio.to_thread(self._store.void, [item.key_id])

    # --- recovery ---

    async def recover(self) -> None:
        """Before serving: start to take back what an earlier process reserved and did not deliver."""
        self._take_back(await asyncio.to_thread(self._store.reserved))

    async def close(self) -> None:
        """Stop the work in the background; `recover` finds what is left at the next start."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    # --- inside ---

    async def _assign(self, assignments: Sequence[Assignment]) -> None:
        try:
            await asyncio.to_thread(self._store.assign, assignments)
        except ParameterError as error:
            raise BadRequest(str(error)) from error  # the peer's fault, not ours

    async def _agreed(
        self,
        tell_peer: Callable[[Sequence[Assignment]], Awaitable[None]],
        master: str,
        slave: str,
        request: KeyRequest,
    ) -> list[DeliveredKey]:
        assignments = await asyncio.to_thread(self._store.reserve, master, (slave,), request.number, request.size_bits)
        try:
            await tell_peer(assignments)
            return await asyncio.to_thread(self._store.deliver_reserved, [item.key_id for item in assignments])
        except RemoteProtocolError as error:
            log.warning("%s", error)
            self._take_back(assignments)
            raise PeerUnreachable(f"KME {self.config.peer_kme_id} refused these keys") from error
        except BaseException:
            # Whatever went wrong, cancellation included: nothing was given out here, so nothing may be there.
            self._take_back(assignments)
            raise

    def _take_back(self, assignments: Sequence[Assignment]) -> None:
        self._taking_back |= {item.key_id: item for item in assignments}
        if self._taking_back and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._keep_taking_back())

    async def _keep_taking_back(self) -> None:
        delay_s = RETRY_LEAST_S
        while self._taking_back:
            batch = list(self._taking_back.values())[: self.config.max_key_per_request]
            key_ids = [item.key_id for item in batch]
            try:
                # The peer first: while the units are RESERVED here, a crash leaves a trace to recover from.
                await self._peer.void(batch)
                await asyncio.to_thread(self._store.void, key_ids)
            except Exception as error:
                # This task must outlive even a bug: without it these keys would wait for the next start.
                log.warning(
                    "%d keys wait to be taken back: %s",
                    len(self._taking_back),
                    error,
                    exc_info=None if isinstance(error, QkdError) else error,
                )
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, RETRY_MOST_S)
                continue
            for key_id in key_ids:
                del self._taking_back[key_id]

    async def _wait_until_taken_back(self) -> None:
        if self._task is None or self._task.done():
            return
        done, _ = await asyncio.wait({self._task}, timeout=OUTAGE_PATIENCE_S)
        if not done:
            raise PeerUnreachable(f"KME {self.config.peer_kme_id} does not answer; no keys until it does")

    # An SAE's keys with itself never leave this node: the peer is made to burn its copies, and they wait
    # here in memory for the second call. A restart loses them, which a trial can bear.

    async def _enc_self_pair(self, caller: str, request: KeyRequest) -> list[DeliveredKey]:
        if len(self._self_pair) + request.number > MOST_HELD_SELF_PAIR_KEYS:
            raise KeyExhausted(
                "too many self-pair keys wait to be collected",
                available=MOST_HELD_SELF_PAIR_KEYS - len(self._self_pair),
                requested=request.number,
            )
        keys = await self._agreed(self._peer.void, caller, caller, request)
        self._self_pair |= {(caller, key.key_id): key for key in keys}
        return keys

    def _dec_self_pair(self, caller: str, key_ids: Sequence[str]) -> list[DeliveredKey]:
        names = [(caller, key_id) for key_id in key_ids]
        missing = sum(name not in self._self_pair for name in names)
        if missing:
            raise KeyNotFound(f"{missing} of {len(names)} keys are not here")
        return [self._self_pair.pop(name) for name in names]
