"""ETSI GS QKD 014 V1.1.1 as pure functions: bodies, bounds, rules and errors; no I/O.

What a request asks for, whether this KME may answer, and what the answer looks like in JSON. Spelling
follows the standard only in the names that travel; the clauses are named where a rule comes from.
`qkd.kms.server` puts HTTP around this file, `qkd.kms.agreement` the keys.

Where the standard is silent: JSON `null` means absent, unknown JSON fields are ignored, unknown or repeated
query parameters are refused, and a request is met whole or not at all. A key whose master is not the one in
the path of dec_keys is a key not found: 400 and not 401, because the caller is named for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

import msgspec

from qkd.errors import (
    KeyExhausted,
    KeyNotFound,
    KeyStoreError,
    NotAuthorised,
    ParameterError,
    PeerUnreachable,
)
from qkd.kms.key import DeliveredKey

BITS_NOT_BYTES = "size shall be a multiple of 8"
EXTENSIONS_UNKNOWN = "not all extension_mandatory parameters are supported"
KEYS_NOT_FOUND = "one or more keys specified are not found on KME"

RETRY_AFTER_S = 5

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DECIMAL = re.compile(r"[0-9]{1,18}")


class BadRequest(ParameterError):
    """The request breaks the standard or a bound of this KME; HTTP 400.

    Args:
        message: for the caller; one of the standard's own where it fixes one.
        details: name and value pairs of the Error body (clause 6.5).
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details


@dataclass(frozen=True, slots=True, kw_only=True)
class KmeConfig:
    """Who this KME is, whom it serves, and its bounds; all of it public (clause 6.1).

    Attributes:
        kme_id, peer_kme_id: this KME and the one at the other end of the link.
        local_saes: SAEs that call this KME. remote_saes: SAEs that call the peer.
        key_size, min_key_size, max_key_size: bits, multiples of 8; the first is the default.
        max_key_per_request: keys in one request. max_key_count: capacity that `status` reports.
        allow_self_pair: let an SAE ask for keys with itself, to try the API with a single certificate.
    """

    kme_id: str
    peer_kme_id: str
    local_saes: frozenset[str]
    remote_saes: frozenset[str]
    key_size: int = 256
    min_key_size: int = 64
    max_key_size: int = 4096
    max_key_per_request: int = 128
    max_key_count: int = 100_000
    allow_self_pair: bool = False

    def __post_init__(self) -> None:
        for name in (self.kme_id, self.peer_kme_id, *self.local_saes, *self.remote_saes):
            if not _ID.fullmatch(name):
                raise ParameterError(f"{name!r} is not an ID: 1 .. 64 letters, digits, '.', '_' or '-'")
        if self.kme_id == self.peer_kme_id:
            raise ParameterError(f"kme_id and peer_kme_id are both {self.kme_id!r}")
        if both := self.local_saes & self.remote_saes:
            raise ParameterError(f"SAE {min(both)!r} is both local and remote: an ID is unique in the network")
        if not 8 <= self.min_key_size <= self.key_size <= self.max_key_size:
            raise ParameterError(
                f"key sizes must be ordered 8 <= min <= default <= max, "
                f"got {self.min_key_size}, {self.key_size}, {self.max_key_size}"
            )
        if any(size % 8 for size in (self.min_key_size, self.key_size, self.max_key_size)):
            raise ParameterError("min_key_size, key_size and max_key_size must be multiples of 8")
        if not 1 <= self.max_key_per_request <= 1024:
            raise ParameterError(f"max_key_per_request = {self.max_key_per_request} must be in 1 .. 1024")


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """What enc_keys is asked for, checked and with the defaults filled in."""

    number: int
    size_bits: int


class Status(msgspec.Struct, frozen=True):
    """Clause 6.1."""

    source_KME_ID: str
    target_KME_ID: str
    master_SAE_ID: str
    slave_SAE_ID: str
    key_size: int
    stored_key_count: int
    max_key_count: int
    max_key_per_request: int
    max_key_size: int
    min_key_size: int
    max_SAE_ID_count: int


# What the published schema says beyond the type; the reading functions check it and name the bound.
_Uuid = Annotated[str, msgspec.Meta(extra_json_schema={"format": "uuid"})]
_Number = Annotated[int, msgspec.Meta(extra_json_schema={"minimum": 1})]
_Size = Annotated[int, msgspec.Meta(extra_json_schema={"minimum": 8, "multipleOf": 8})]


class KeyRequestBody(msgspec.Struct, frozen=True):
    """Clause 6.2; every field may be absent."""

    number: _Number | None = None
    size: _Size | None = None
    additional_slave_SAE_IDs: list[str] | None = None
    extension_mandatory: list[dict[str, Any]] | None = None
    extension_optional: list[dict[str, Any]] | None = None


class KeyItem(msgspec.Struct, frozen=True):
    """One key of clause 6.3, in base64 of RFC 4648 section 4; the extension says where it comes from."""

    key_ID: _Uuid
    key: bytes
    key_extension: dict[str, Any]

    def __repr__(self) -> str:
        return f"KeyItem({self.key_ID})"


class KeyContainer(msgspec.Struct, frozen=True):
    """Clause 6.3."""

    keys: list[KeyItem]


class KeyIdItem(msgspec.Struct, frozen=True):
    """One entry of clause 6.4."""

    key_ID: _Uuid
    key_ID_extension: dict[str, Any] | None = None


class KeyIdsBody(msgspec.Struct, frozen=True):
    """Clause 6.4."""

    key_IDs: list[KeyIdItem]
    key_IDs_extension: dict[str, Any] | None = None


class ErrorBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """Clause 6.5."""

    message: str
    details: list[dict[str, Any]] = []


Query = Iterable[tuple[str, str]]
B = TypeVar("B", bound=msgspec.Struct)


def no_query(query: Query) -> None:
    """Refuse every query parameter: POST requests and `status` take none."""
    _parameters(query, allowed=())


def key_request_of_query(config: KmeConfig, query: Query) -> KeyRequest:
    """The simple form of enc_keys, GET with `number` and `size` (clause 5.3).

    Raises:
        BadRequest: unknown, repeated or malformed parameter; number or size out of bounds.
    """
    given = _parameters(query, allowed=("number", "size"))
    return _checked(config, _decimal(given, "number"), _decimal(given, "size"))


def key_request_of_body(config: KmeConfig, body: bytes) -> KeyRequest:
    """The full form of enc_keys, POST with a Key request (clause 6.2).

    Raises:
        BadRequest: not such a body; number or size out of bounds; a mandatory extension, since we know none;
            more additional slaves than max_SAE_ID_count, which is 0.
    """
    asked = decode_body(body, KeyRequestBody)
    if asked.additional_slave_SAE_IDs:
        count = len(asked.additional_slave_SAE_IDs)
        raise BadRequest(f"{count} additional_slave_SAE_IDs, max_SAE_ID_count is 0", max_SAE_ID_count=0)
    unknown = ", ".join(name for extension in asked.extension_mandatory or () for name in extension)
    if asked.extension_mandatory:
        raise BadRequest(EXTENSIONS_UNKNOWN, extension_mandatory_unsupported=f"{unknown[:200]} is not supported")
    return _checked(config, asked.number, asked.size)


def key_ids_of_query(config: KmeConfig, query: Query) -> list[str]:
    """The simple form of dec_keys, GET with exactly one `key_ID` (clause 5.4).

    Raises:
        BadRequest: no key_ID, several, another parameter, or not a UUID.
    """
    given = _parameters(query, allowed=("key_ID",))
    if "key_ID" not in given:
        raise BadRequest("the query parameter key_ID is missing")
    return _key_ids(config, [given["key_ID"]])


def key_ids_of_body(config: KmeConfig, body: bytes) -> list[str]:
    """The full form of dec_keys, POST with Key IDs (clause 6.4).

    Returns:
        UUIDs in lower case, in the order of the request.

    Raises:
        BadRequest: not such a body; none, too many, repeated or malformed IDs.
    """
    return _key_ids(config, [item.key_ID for item in decode_body(body, KeyIdsBody).key_IDs])


def decode_body(body: bytes, kind: type[B]) -> B:
    """JSON of a request to its struct; BadRequest says where it does not fit."""
    if not body:
        raise BadRequest("the body is empty; a request for the defaults is {}")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise BadRequest(f"the body is not what this method takes: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON in UTF-8: {error}") from error


def _parameters(query: Query, *, allowed: Sequence[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in query:
        if name not in allowed:
            what = f"this method takes {', '.join(allowed)}" if allowed else "this method takes none"
            raise BadRequest(f"unknown query parameter {name[:64]!r}; {what}")
        if name in given:
            more = "; use POST for more than one" if name == "key_ID" else ""
            raise BadRequest(f"query parameter {name} is there twice{more}")
        given[name] = value
    return given


def _decimal(given: dict[str, str], name: str) -> int | None:
    if name not in given:
        return None
    if not _DECIMAL.fullmatch(given[name]):
        raise BadRequest(f"{name} must be a whole number, got {given[name][:64]!r}")
    return int(given[name])


def _checked(config: KmeConfig, number: int | None, size: int | None) -> KeyRequest:
    number = 1 if number is None else number
    size = config.key_size if size is None else size
    if number < 1:
        raise BadRequest(f"number = {number} is below 1")
    _at_most("number", number, "max_key_per_request", config.max_key_per_request)
    _at_most("size", size, "max_key_size", config.max_key_size)
    if size < config.min_key_size:
        bound = config.min_key_size
        raise BadRequest(f"size = {size} is below min_key_size = {bound}", min_key_size=bound)
    if size % 8:
        raise BadRequest(BITS_NOT_BYTES)
    return KeyRequest(number, size)


def _at_most(name: str, value: int, bound_name: str, bound: int) -> None:
    if value > bound:
        raise BadRequest(f"{name} = {value} is above {bound_name} = {bound}", **{bound_name: bound})


def _key_ids(config: KmeConfig, texts: list[str]) -> list[str]:
    if not texts:
        raise BadRequest("key_IDs is empty")
    _at_most("number of key_IDs", len(texts), "max_key_per_request", config.max_key_per_request)
    for text in texts:
        if not _UUID.fullmatch(text):
            raise BadRequest(f"key_ID {text[:64]!r} is not a UUID")
    ids = [str(UUID(text)) for text in texts]
    if len(set(ids)) < len(ids):
        raise BadRequest("the same key_ID is there twice")
    return ids


def check_master(config: KmeConfig, caller: str, slave: str) -> None:
    """Whether `caller` may ask for status and keys towards `slave` (clauses 5.2, 5.3).

    Raises:
        NotAuthorised: the caller is not one of ours. BadRequest: the slave is unknown at the peer.
    """
    check_registered(config, caller)
    if slave == caller and config.allow_self_pair:
        return
    if slave not in config.remote_saes:
        raise BadRequest(f"slave SAE {slave[:64]!r} is not known to KME {config.peer_kme_id}")


def check_registered(config: KmeConfig, caller: str) -> None:
    """NotAuthorised unless `caller` is an SAE of this KME."""
    if caller not in config.local_saes:
        raise NotAuthorised(f"SAE {caller!r} is not registered at KME {config.kme_id}")


def status_of(config: KmeConfig, caller: str, slave: str, stored_key_count: int) -> Status:
    """The status body for a pair of SAEs (clause 6.1)."""
    return Status(
        source_KME_ID=config.kme_id,
        target_KME_ID=config.kme_id if slave == caller else config.peer_kme_id,
        master_SAE_ID=caller,
        slave_SAE_ID=slave,
        key_size=config.key_size,
        stored_key_count=min(stored_key_count, config.max_key_count),
        max_key_count=config.max_key_count,
        max_key_per_request=config.max_key_per_request,
        max_key_size=config.max_key_size,
        min_key_size=config.min_key_size,
        max_SAE_ID_count=0,
    )


def container_of(keys: Sequence[DeliveredKey]) -> KeyContainer:
    """The key container (clause 6.3), with where each key comes from in `key_extension` under our prefix."""
    return KeyContainer([KeyItem(key.key_id, key.key, _provenance(key)) for key in keys])


def _provenance(key: DeliveredKey) -> dict[str, Any]:
    """Of a key cut from several blocks: the first one's number, the others', and the worst of each figure."""
    sources = key.provenance
    oldest = datetime.fromtimestamp(min(source.created_s for source in sources), UTC)
    extension = {
        "eqkd_block": sources[0].block,
        "eqkd_qber_z": max(source.qber_z for source in sources),
        "eqkd_qber_x": max(source.qber_x for source in sources),
        "eqkd_eps_total": key.eps_total,
        "eqkd_label": "; ".join(dict.fromkeys(source.label for source in sources)),
        "eqkd_simulated": any(source.simulated for source in sources),
        "eqkd_created": oldest.isoformat().replace("+00:00", "Z"),
    }
    if len(sources) > 1:
        extension["eqkd_further_blocks"] = [source.block for source in sources[1:]]
    return extension


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """An error as HTTP: status code, Error body, and after how many seconds to try again (0: never)."""

    status: int
    body: ErrorBody
    retry_after_s: int = 0


def reply_to(error: Exception) -> ErrorReply:
    """Which answer an error gets (tables 4, 6, 8).

    The text of an error reaches the caller only where it was written for the caller: a fault of the store
    or a bug of ours says nothing about this machine.
    """
    if isinstance(error, BadRequest):
        return ErrorReply(400, _error_body(str(error), error.details))
    if isinstance(error, KeyNotFound):
        return ErrorReply(400, ErrorBody(KEYS_NOT_FOUND))
    if isinstance(error, NotAuthorised):
        return ErrorReply(401, ErrorBody(str(error)))
    if isinstance(error, KeyExhausted):
        counts = {"available": error.available, "requested": error.requested}
        return ErrorReply(503, _error_body("not enough key in store", counts), RETRY_AFTER_S)
    if isinstance(error, PeerUnreachable):
        return ErrorReply(503, _error_body(str(error), {"peer_KME": "unreachable"}), RETRY_AFTER_S)
    if isinstance(error, KeyStoreError):
        return ErrorReply(503, ErrorBody("the key store cannot answer now"), RETRY_AFTER_S)
    return ErrorReply(500, ErrorBody("internal error of this KME"))


def _error_body(message: str, details: dict[str, Any]) -> ErrorBody:
    return ErrorBody(message, [{name: value} for name, value in details.items()])
