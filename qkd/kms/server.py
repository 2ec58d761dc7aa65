"""The KME on the wire: HTTP around `etsi014` and `agreement`, over mutual TLS.

Who calls is read from the certificate of the connection and from nothing else: an SAE's opens /api, the
peer KME's opens /peer. Every answer that is not 200 carries the standard's JSON Error body, also where the
standard names none; what this machine is made of stays out of it. Each request leaves one line in the log
`qkd.kms`, without key material.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache

import msgspec
from aiohttp import web

from qkd.errors import NotAuthorised
from qkd.kms import etsi014, openapi
from qkd.kms.agreement import KeyManager, Units
from qkd.kms.etsi014 import BadRequest, ErrorBody, ErrorReply
from qkd.kms.key import DeliveredKey
from qkd.kms.pki import PeerIdentity, PeerKind, identity

log = logging.getLogger("qkd.kms")

MAX_BODY_BYTES = 1 << 20  # a full /peer/v1/assign of 128 keys of 4096 bits has 90 kB

MANAGER = web.AppKey("manager", KeyManager)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# One certificate serves thousands of requests on its connection; parse it once.
_identity = lru_cache(maxsize=1024)(identity)


def build_app(manager: KeyManager) -> web.Application:
    """The HTTP application of one KME. Serve it with a context that requires client certificates."""
    app = web.Application(middlewares=[_answer], client_max_size=MAX_BODY_BYTES)
    app[MANAGER] = manager
    keys = "/api/v1/keys/{sae}"
    app.add_routes(
        [
            # allow_head=False: a HEAD that runs a GET handler would consume keys and show none.
            web.get(f"{keys}/status", _status, allow_head=False),
            web.get(f"{keys}/enc_keys", _enc_keys, allow_head=False),
            web.post(f"{keys}/enc_keys", _enc_keys),
            web.get(f"{keys}/dec_keys", _dec_keys, allow_head=False),
            web.post(f"{keys}/dec_keys", _dec_keys),
            web.post("/peer/v1/assign", _assign),
            web.post("/peer/v1/void", _void),
            web.get("/openapi.json", _openapi, allow_head=False),
        ]
    )
    return app


async def serve(app: web.Application, host: str, port: int, ssl_context: ssl.SSLContext) -> tuple[web.AppRunner, int]:
    """Listen; port 0 takes a free one.

    Returns:
        The runner (await its `cleanup()` to stop) and the port.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=5.0)
    await runner.setup()
    await web.TCPSite(runner, host, port, ssl_context=ssl_context).start()
    return runner, int(runner.addresses[0][1])


# --- handlers ---


async def _status(request: web.Request) -> web.Response:
    caller = _caller(request, PeerKind.SAE)
    etsi014.no_query(request.query.items())
    return _json(await request.app[MANAGER].status(caller, request.match_info["sae"]))


async def _enc_keys(request: web.Request) -> web.Response:
    caller, manager = _caller(request, PeerKind.SAE), request.app[MANAGER]
    if request.method == "GET":
        _no_body(request)
        asked = etsi014.key_request_of_query(manager.config, request.query.items())
    else:
        asked = etsi014.key_request_of_body(manager.config, await _body(request))
    return _KeysResponse(await manager.enc_keys(caller, request.match_info["sae"], asked))


async def _dec_keys(request: web.Request) -> web.Response:
    caller, manager = _caller(request, PeerKind.SAE), request.app[MANAGER]
    if request.method == "GET":
        _no_body(request)
        key_ids = etsi014.key_ids_of_query(manager.config, request.query.items())
    else:
        key_ids = etsi014.key_ids_of_body(manager.config, await _body(request))
    return _KeysResponse(await manager.dec_keys(caller, request.match_info["sae"], key_ids))


async def _assign(request: web.Request) -> web.Response:
    _require_peer(request)
    units = etsi014.decode_body(await _body(request), Units)
    await request.app[MANAGER].assign_for_peer(units.assignments)
    return _json({})


async def _void(request: web.Request) -> web.Response:
    _require_peer(request)
    units = etsi014.decode_body(await _body(request), Units)
    await request.app[MANAGER].void_for_peer(units.assignments)
    return _json({})


async def _openapi(request: web.Request) -> web.Response:
    etsi014.no_query(request.query.items())
    return _json(openapi.document())


# --- what every request goes through ---


@web.middleware
async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        response = await handler(request)
    except web.HTTPException as error:
        response = _error(ErrorReply(error.status, ErrorBody(_http_message(error))))
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
    except Exception as error:
        reply = etsi014.reply_to(error)
        if reply.status == 500:
            log.exception("a bug met %s %s", request.method, request.rel_url.raw_path)
        elif reply.status == 503:
            log.warning("%s", error)
        response = _error(reply)
    response.headers["Cache-Control"] = "no-store"
    response.headers["Server"] = "entangled-qkd"
    log.info(
        "%s %s caller=%s status=%d keys=%d",
        request.method,
        request.rel_url.raw_path,  # still percent-encoded: one request cannot write two lines
        _caller_for_log(request),
        response.status,
        response.count if isinstance(response, _KeysResponse) else 0,
    )
    return response


def _peer_identity(request: web.Request) -> PeerIdentity:
    connection = request.get_extra_info("ssl_object")
    certificate = connection.getpeercert(True) if connection is not None else None
    if certificate is None:
        raise NotAuthorised("no client certificate: this API is served over mutual TLS only")
    return _identity(certificate)


def _caller(request: web.Request, kind: PeerKind) -> str:
    caller = _peer_identity(request)
    if caller.kind is not kind:
        raise NotAuthorised(f"the certificate names a {caller.kind.name}, this method is for a {kind.name}")
    return caller.id


def _caller_for_log(request: web.Request) -> str:
    try:
        caller = _peer_identity(request)
    except NotAuthorised:
        return "-"
    return f"{caller.kind.value}:{caller.id}"


def _require_peer(request: web.Request) -> None:
    caller, peer = _caller(request, PeerKind.KME), request.app[MANAGER].config.peer_kme_id
    if caller != peer:
        raise NotAuthorised(f"KME {caller!r} is not the peer of this KME")


def _no_body(request: web.Request) -> None:
    if request.body_exists:
        raise BadRequest("a GET request has no body here; use POST")


async def _body(request: web.Request) -> bytes:
    etsi014.no_query(request.query.items())
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType
    return await request.read()


class _KeysResponse(web.Response):
    """A key container, and how many keys the log shall say it has."""

    def __init__(self, keys: Sequence[DeliveredKey]) -> None:
        super().__init__(body=msgspec.json.encode(etsi014.container_of(keys)), content_type="application/json")
        self.count = len(keys)


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


def _error(reply: ErrorReply) -> web.Response:
    headers = {"Retry-After": str(reply.retry_after_s)} if reply.retry_after_s else None
    body = msgspec.json.encode(reply.body)
    return web.Response(status=reply.status, body=body, content_type="application/json", headers=headers)


_HTTP_MESSAGES = {
    404: "no such resource: GET /openapi.json describes this API",
    413: f"the body is longer than {MAX_BODY_BYTES} bytes",
    415: "the body must be application/json",
}


def _http_message(error: web.HTTPException) -> str:
    return _HTTP_MESSAGES.get(error.status, error.reason)
