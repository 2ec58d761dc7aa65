"""A client of ETSI GS QKD 014 for programs and scripts: three calls, typed answers, our errors.

It works with any KME of the standard and imports the standard library only. One TLS connection stays open
between
calls: the handshake costs more than all the rest. Nothing is ever sent twice, because both key methods
destroy what
they deliver: when an answer is lost the caller hears of it and asks for new keys.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import json
import select
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from uuid import UUID

from qkd.errors import (
    AuthenticationError,
    KeyExhausted,
    KeyNotFound,
    KeyStoreError,
    NotAuthorised,
    ParameterError,
    PeerUnreachable,
    QkdError,
    RemoteProtocolError,
)

KME_URN = "urn:qkd:kme:"
MAX_ANSWER_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class KmeStatus:
    """What a KME says about a pair of SAEs (clause 6.1); sizes in bits."""

    source_kme_id: str
    target_kme_id: str
    master_sae_id: str
    slave_sae_id: str
    key_size: int
    stored_key_count: int
    max_key_count: int
    max_key_per_request: int
    max_key_size: int
    min_key_size: int
    max_sae_id_count: int


@dataclass(frozen=True, slots=True)
class Key:
    """One delivered key.

    Attributes:
        key_id: UUID text, lower case; public.
        key: the secret bytes, never shown.
        extension: what the KME says about where the key comes from, or {}.
    """

    key_id: str
    key: bytes = field(repr=False)
    extension: dict[str, Any]


class Etsi014Client:
    """One SAE's connection to its KME; for one thread at a time.

    Args:
        base_url: `https://host:port`, with a path before `/api/v1` if the KME has one.
        cert, key: this SAE's certificate and private key, PEM files.
        ca: the authority that must have signed the KME's certificate, PEM file.
        kme_id: when given, the KME's certificate must carry the SAN URI `urn:qkd:kme:ID` (clause 5.1 asks the
            SAE to confirm the KME's identity).
        timeout_s: longest wait for the connection and for each answer.

    Raises:
        ParameterError: an impossible URL, or a file that cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        cert: Path,
        key: Path,
        ca: Path,
        *,
        kme_id: str | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        url = urlsplit(base_url)
        if url.scheme != "https" or not url.hostname or url.query or url.fragment or url.username:
            raise ParameterError(f"{base_url!r} is not of the form https://host:port")
        try:
            port = url.port or 443
        except ValueError as error:
            raise ParameterError(f"{base_url!r}: {error}") from error
        self._where = f"{url.hostname}:{port}"
        self._prefix = url.path.rstrip("/") + "/api/v1/keys/"
        context = _context(cert, key, ca)
        if kme_id is not None:
            require_kme(context, kme_id)
        self._line = http.client.HTTPSConnection(url.hostname, port, timeout=timeout_s, context=context)

    def status(self, slave: str) -> KmeStatus:
        """What the KME can do for us and `slave`.

        Raises:
            NotAuthorised, ParameterError, KeyStoreError: the KME's answer.
            PeerUnreachable: nobody answered.
            AuthenticationError: the KME is not who it should be.
            RemoteProtocolError: it speaks something else.
        """
        answer = self._call("GET", slave, "status")
        try:
            return KmeStatus(**{name: kind(answer[etsi]) for name, etsi, kind in _STATUS})
        except (KeyError, TypeError, ValueError) as error:
            raise RemoteProtocolError(f"{self._where} sent a status that is none: {error!r}") from error

    def enc_keys(self, slave: str, number: int | None = None, size: int | None = None) -> list[Key]:
        """New keys shared with `slave`; pass it the key IDs.

        Args:
            slave: ID of the SAE at the other end.
            number: how many, or None for the KME's default of 1.
            size: bits of each, or None for the KME's default.

        Raises:
            KeyExhausted: not enough key in store. Otherwise as `status`.
        """
        asked = {name: value for name, value in (("number", number), ("size", size)) if value is not None}
        query = f"?{urlencode(asked)}" if asked else ""
        return self._keys(self._call("GET", slave, f"enc_keys{query}"), expected=number or 1)

    def dec_keys(self, master: str, key_ids: Sequence[str]) -> list[Key]:
        """The keys that `master` was given under these IDs; all of them or none.

        Raises:
            KeyNotFound: some ID is unknown or was collected before. NotAuthorised: some key is not for us.
        """
        body = json.dumps({"key_IDs": [{"key_ID": key_id} for key_id in key_ids]}).encode()
        return self._keys(self._call("POST", master, "dec_keys", body), expected=len(key_ids))

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        self._line.close()

    def __enter__(self) -> Etsi014Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, method: str, sae: str, what: str, body: bytes | None = None) -> dict[str, Any]:
        path = f"{self._prefix}{quote(sae, safe='')}/{what}"
        headers = {"Accept": "application/json"} | ({"Content-Type": "application/json"} if body else {})
        self._drop_stale_line()
        try:
            self._line.request(method, path, body, headers)
            response = self._line.getresponse()
            status, data = response.status, response.read(MAX_ANSWER_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            self._line.close()
            raise _as_line_error(self._where, error) from error
        if len(data) > MAX_ANSWER_BYTES:
            self._line.close()
            raise RemoteProtocolError(f"{self._where} sent more than {MAX_ANSWER_BYTES} bytes")
        answer = _json_object(data)
        if status != 200:
            raise _as_error(self._where, status, answer)
        if answer is None:
            raise RemoteProtocolError(f"{self._where} answered with something that is no JSON object")
        return answer

    def _drop_stale_line(self) -> None:
        # A server may have closed the idle connection. An idle socket that is readable has nothing for us
        # but its end; finding out before the request is sent is what makes sending twice unnecessary.
        sock: socket.socket | None = self._line.sock
        if sock is None:
            return
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        if poll.poll(0):
            self._line.close()

    def _keys(self, answer: dict[str, Any], *, expected: int) -> list[Key]:
        try:
            keys = [_key(item) for item in answer["keys"]]
        except (KeyError, TypeError, ValueError, AttributeError, binascii.Error):
            # The cause is dropped on purpose: its text may quote key material.
            raise RemoteProtocolError(f"{self._where} sent a key container that is none") from None
        if len(keys) != expected:
            raise RemoteProtocolError(f"{self._where} sent {len(keys)} keys where {expected} were asked for")
        return keys


_STATUS: tuple[tuple[str, str, type], ...] = (
    ("source_kme_id", "source_KME_ID", str),
    ("target_kme_id", "target_KME_ID", str),
    ("master_sae_id", "master_SAE_ID", str),
    ("slave_sae_id", "slave_SAE_ID", str),
    ("key_size", "key_size", int),
    ("stored_key_count", "stored_key_count", int),
    ("max_key_count", "max_key_count", int),
    ("max_key_per_request", "max_key_per_request", int),
    ("max_key_size", "max_key_size", int),
    ("min_key_size", "min_key_size", int),
    ("max_sae_id_count", "max_SAE_ID_count", int),
)


def _key(item: dict[str, Any]) -> Key:
    extension = item.get("key_extension")
    return Key(
        # The ID ends up in file names: only a UUID will do.
        str(UUID(item["key_ID"])),
        base64.b64decode(item["key"], validate=True),
        extension if isinstance(extension, dict) else {},
    )


def _context(cert: Path, key: Path, ca: Path) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(ca))
    except (OSError, ssl.SSLError) as error:
        raise ParameterError(f"{ca} is not a usable authority's certificate: {error}") from error
    try:
        # An encrypted key would make OpenSSL ask on the terminal, and a service would hang there.
        context.load_cert_chain(str(cert), str(key), password="")
    except (OSError, ssl.SSLError) as error:
        raise ParameterError(f"{cert} and {key} are not a usable certificate and its key: {error}") from error
    return context


def require_kme(context: ssl.SSLContext, kme_id: str) -> None:
    """Make every handshake of this client context fail unless the server is the named KME.

    The check runs before the first byte of a request is sent, for blocking sockets and for asyncio alike.

    Args:
        context: a client context with CERT_REQUIRED; it is changed.
        kme_id: what the certificate's SAN URI `urn:qkd:kme:` must name.
    """

    class Socket(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            super().do_handshake(block)
            _check_kme(self.getpeercert(), kme_id)

    class Object(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            _check_kme(self.getpeercert(), kme_id)

    context.sslsocket_class = Socket
    context.sslobject_class = Object


def _check_kme(certificate: Any, kme_id: str) -> None:
    names = [
        name
        for kind, name in (certificate or {}).get("subjectAltName", ())
        if kind == "URI" and name.startswith("urn:qkd:")
    ]
    if names != [KME_URN + kme_id]:
        error = ssl.SSLCertVerificationError("wrong key manager")
        error.verify_message = f"its certificate names {names or 'nobody'}, not {KME_URN}{kme_id}"
        raise error


def _as_line_error(where: str, error: Exception) -> QkdError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return AuthenticationError(
            f"{where} is not the key manager it should be: {error.verify_message}",
            hint="check the URL, the authority's certificate and the KME's ID",
        )
    if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):
        return NotAuthorised(
            f"{where} refused this SAE's certificate: {error.reason}",
            hint="it must be valid now and signed by the authority that the key manager trusts",
        )
    if isinstance(error, TimeoutError):
        return PeerUnreachable(f"{where} did not answer in time")
    if isinstance(error, http.client.RemoteDisconnected | ConnectionResetError | BrokenPipeError | ssl.SSLError):
        # Some servers, asyncio's among them, close without saying why when they refuse a certificate.
        return PeerUnreachable(
            f"{where} closed the connection without an answer",
            hint="it may have refused this SAE's certificate: is it valid now, and of the right authority?",
        )
    if isinstance(error, http.client.HTTPException):
        return RemoteProtocolError(f"{where} does not speak HTTP: {type(error).__name__}")
    return PeerUnreachable(f"{where} cannot be reached: {getattr(error, 'strerror', None) or error}")


def _json_object(data: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _as_error(where: str, status: int, answer: dict[str, Any] | None) -> QkdError:
    """The Error body as one of our errors; peers that are looser than the standard are understood, too."""
    answer = answer or {}
    message = f"{where}: {str(answer.get('message') or f'HTTP {status} without a message')[:500]}"
    details: dict[str, Any] = {}
    for item in answer.get("details") or ():
        if isinstance(item, dict):
            details |= item
    if status == 401:
        return NotAuthorised(message)
    if status == 404 or (status == 400 and "not found" in message):
        return KeyNotFound(message)
    if status == 400:
        return ParameterError(message)
    if status == 503 and "peer_KME" in details:
        return PeerUnreachable(message)
    if status == 503:
        counts = (details.get("available"), details.get("requested"))
        available, requested = (n if isinstance(n, int) else 0 for n in counts)
        return KeyExhausted(message, available=available, requested=requested)
    return KeyStoreError(message)
