"""What this KME serves, as OpenAPI 3.1: built from the very structs that read and write the bodies.

docs/openapi-etsi014.json is `json.dumps(document(), indent=2)`; a test keeps the two equal. The paths between
KMEs are not in it: they are no interface for applications.
"""

from __future__ import annotations

from typing import Any

import msgspec

from qkd import __version__
from qkd.kms.etsi014 import ErrorBody, KeyContainer, KeyIdsBody, KeyRequestBody, Status

Json = dict[str, Any]

_STRUCTS = (Status, KeyRequestBody, KeyContainer, KeyIdsBody, ErrorBody)
_UUID: Json = {"type": "string", "format": "uuid"}
_COUNT: Json = {"type": "integer", "minimum": 1}


def document() -> Json:
    """The OpenAPI document; no secrets, the same for every KME of this version."""
    _, schemas = msgspec.json.schema_components(_STRUCTS, ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Key delivery API, ETSI GS QKD 014 V1.1.1",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": (
                "Mutual TLS; the SAE is who the client certificate's SAN URI urn:qkd:sae:ID names. "
                "Number and size are bounded by what `status` reports. Keys are delivered once."
            ),
        },
        "paths": {
            "/api/v1/keys/{slave_SAE_ID}/status": {"get": _status()},
            "/api/v1/keys/{slave_SAE_ID}/enc_keys": {"get": _enc_get(), "post": _enc_post()},
            "/api/v1/keys/{master_SAE_ID}/dec_keys": {"get": _dec_get(), "post": _dec_post()},
        },
        "components": {"schemas": schemas, "securitySchemes": {"mutualTLS": {"type": "mutualTLS"}}},
        "security": [{"mutualTLS": []}],
    }


def _status() -> Json:
    return _operation("getStatus", "What this KME can do for the caller and a slave (5.2)", "slave", Status)


def _enc_get() -> Json:
    query = [_query("number", _COUNT), _query("size", _COUNT | {"multipleOf": 8})]
    return _operation("getKeySimple", "New keys, by number and size (5.3)", "slave", KeyContainer, query=query)


def _enc_post() -> Json:
    return _operation("getKey", "New keys (5.3)", "slave", KeyContainer, body=KeyRequestBody)


def _dec_get() -> Json:
    query = [_query("key_ID", _UUID, required=True)]
    return _operation("getKeyWithKeyID", "The key of one ID (5.4)", "master", KeyContainer, query=query)


def _dec_post() -> Json:
    return _operation("getKeyWithKeyIDs", "The keys of these IDs (5.4)", "master", KeyContainer, body=KeyIdsBody)


def _operation(
    name: str,
    summary: str,
    sae: str,
    answer: type[msgspec.Struct],
    *,
    query: list[Json] | None = None,
    body: type[msgspec.Struct] | None = None,
) -> Json:
    path = {"name": f"{sae}_SAE_ID", "in": "path", "required": True, "schema": {"type": "string"}}
    operation: Json = {
        "operationId": name,
        "summary": summary,
        "parameters": [path, *(query or [])],
        "responses": _responses(answer, has_body=body is not None),
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": _content(body)}
    return operation


def _responses(answer: type[msgspec.Struct], *, has_body: bool) -> Json:
    errors = {
        "400": "The request breaks the standard or a bound, or a key is not found here",
        "401": "The caller is not registered here, or was not named for one of the keys",
    }
    if has_body:
        errors |= {"413": "The body is too long", "415": "The body is not application/json"}
    errors |= {
        "500": "A fault of this KME",
        "503": "Not enough key, or the peer KME does not answer; see Retry-After",
    }
    replies: Json = {"200": {"description": "Done", "content": _content(answer)}}
    return replies | {code: {"description": text, "content": _content(ErrorBody)} for code, text in errors.items()}


def _query(name: str, schema: Json, *, required: bool = False) -> Json:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _content(kind: type[msgspec.Struct]) -> Json:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}
