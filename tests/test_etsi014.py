"""ETSI GS QKD 014 V1.1.1 as pure functions; expected messages, names and codes are those of its clauses 5 and 6."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkd import errors
from qkd.kms import etsi014, openapi
from qkd.kms.etsi014 import BadRequest, KeyRequest, KmeConfig
from qkd.kms.key import DeliveredKey, Provenance

CONFIG = KmeConfig(kme_id="kme-a", peer_kme_id="kme-b", local_saes=frozenset({"alice"}), remote_saes=frozenset({"bob"}))
KEY_ID = "bc490419-7d60-487f-adc1-4ddcc177c139"  # the example of clause 6.3
OTHER_ID = "0a782fb5-3434-48fe-aa4d-14f41d46cf92"


def request(body: object) -> KeyRequest:
    return etsi014.key_request_of_body(CONFIG, json.dumps(body).encode())


def key_ids(body: object) -> list[str]:
    return etsi014.key_ids_of_body(CONFIG, json.dumps(body).encode())


def test_defaults_are_one_key_of_the_reported_size():
    assert request({}) == etsi014.key_request_of_query(CONFIG, []) == KeyRequest(1, 256)


def test_query_and_body_say_the_same():
    query = [("number", "3"), ("size", "1024")]
    assert etsi014.key_request_of_query(CONFIG, query) == request({"number": 3, "size": 1024}) == KeyRequest(3, 1024)


def test_null_and_unknown_fields_are_absent():
    assert request({"number": None, "extension_mandatory": None, "vendor": [1]}) == KeyRequest(1, 256)


@pytest.mark.parametrize(
    ("number", "size", "bound"),
    [
        (0, 256, "below 1"),
        (-1, 256, "below 1"),
        (129, 256, "max_key_per_request = 128"),
        (10**30, 256, "max_key_per_request = 128"),
        (1, 56, "min_key_size = 64"),
        (1, -8, "min_key_size = 64"),
        (1, 4104, "max_key_size = 4096"),
        (1, 257, "^size shall be a multiple of 8$"),
    ],
)
def test_bounds_are_named(number: int, size: int, bound: str):
    with pytest.raises(BadRequest, match=bound):
        request({"number": number, "size": size})


@pytest.mark.parametrize(("number", "size"), [(1, 64), (128, 4096), (128, 72)])
def test_bounds_themselves_are_allowed(number: int, size: int):
    assert request({"number": number, "size": size}) == KeyRequest(number, size)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'"x"',
        b'{"number": "3"}',
        b'{"number": 1.0}',
        b'{"number": true}',
        b'{"size": 1e3}',
        b'{"number": 1} trailing',
        b'{"additional_slave_SAE_IDs": "bob"}',
        b'{"extension_mandatory": {"a": 1}}',
        b'{"extension_optional": [1]}',
        b'{"deep": ' + b"[" * 100_000,
    ],
)
def test_a_malformed_key_request_is_a_bad_request(body: bytes):
    with pytest.raises(BadRequest):
        etsi014.key_request_of_body(CONFIG, body)


def test_mandatory_extensions_are_refused_with_the_words_of_the_standard():
    with pytest.raises(BadRequest) as caught:
        request({"extension_mandatory": [{"abc_route_type": "direct"}, {"abc_max_age": 30000}]})
    reply = etsi014.reply_to(caught.value)
    assert reply.status == 400
    assert reply.body.message == "not all extension_mandatory parameters are supported"
    assert reply.body.details == [{"extension_mandatory_unsupported": "abc_route_type, abc_max_age is not supported"}]


def test_optional_extensions_are_ignored_and_empty_lists_are_nothing():
    asked = {
        "extension_optional": [{"abc_max_age": 1}],
        "extension_mandatory": [],
        "additional_slave_SAE_IDs": [],
    }
    assert request(asked) == KeyRequest(1, 256)


def test_additional_slaves_are_refused_with_the_bound():
    with pytest.raises(BadRequest, match="max_SAE_ID_count is 0") as caught:
        request({"additional_slave_SAE_IDs": ["carol"]})
    assert etsi014.reply_to(caught.value).body.details == [{"max_SAE_ID_count": 0}]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ([("number", "1"), ("number", "2")], "twice"),
        ([("Number", "1")], "unknown"),
        ([("additional_slave_SAE_IDs", "x")], "unknown"),
        ([("number", "")], "whole number"),
        ([("number", "+1")], "whole number"),
        ([("number", " 1")], "whole number"),
        ([("number", "1_0")], "whole number"),
        ([("number", "\u0663")], "whole number"),  # int() would read this digit
        ([("size", "9" * 5000)], "whole number"),
    ],
)
def test_query_of_enc_keys_is_read_strictly(query: list[tuple[str, str]], reason: str):
    with pytest.raises(BadRequest, match=reason):
        etsi014.key_request_of_query(CONFIG, query)


def test_key_ids_come_in_order_and_lower_case():
    asked = {"key_IDs": [{"key_ID": OTHER_ID.upper()}, {"key_ID": KEY_ID, "key_ID_extension": {}}]}
    assert key_ids(asked) == [OTHER_ID, KEY_ID]
    assert etsi014.key_ids_of_query(CONFIG, [("key_ID", KEY_ID)]) == [KEY_ID]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"key_IDs": []},
        {"key_IDs": KEY_ID},
        {"key_IDs": [KEY_ID]},
        {"key_IDs": [{"key_id": KEY_ID}]},
        {"key_IDs": [{"key_ID": 7}]},
        {"key_IDs": [{"key_ID": "../../etc/passwd"}]},
        {"key_IDs": [{"key_ID": KEY_ID + "\n"}]},
        {"key_IDs": [{"key_ID": KEY_ID.replace("-", "")}]},
        {"key_IDs": [{"key_ID": KEY_ID}, {"key_ID": KEY_ID.upper()}]},
        {"key_IDs": [{"key_ID": f"{n:08x}-0000-4000-8000-000000000000"} for n in range(129)]},
    ],
)
def test_malformed_key_ids_are_a_bad_request(body: object):
    with pytest.raises(BadRequest):
        key_ids(body)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ([], "missing"),
        ([("key_ID", KEY_ID), ("key_ID", OTHER_ID)], "use POST"),
        ([("key_id", KEY_ID)], "unknown"),
        ([("key_ID", KEY_ID), ("size", "256")], "unknown"),
        ([("key_ID", "nonsense")], "not a UUID"),
    ],
)
def test_query_of_dec_keys_is_read_strictly(query: list[tuple[str, str]], reason: str):
    with pytest.raises(BadRequest, match=reason):
        etsi014.key_ids_of_query(CONFIG, query)


@given(st.binary(max_size=200))
def test_any_body_is_read_or_refused(body: bytes):
    for read in (etsi014.key_request_of_body, etsi014.key_ids_of_body):
        with contextlib.suppress(BadRequest):
            read(CONFIG, body)


def test_who_may_ask():
    etsi014.check_master(CONFIG, "alice", "bob")
    with pytest.raises(errors.NotAuthorised, match="mallory"):
        etsi014.check_master(CONFIG, "mallory", "bob")
    with pytest.raises(errors.NotAuthorised):
        etsi014.check_master(CONFIG, "bob", "alice")  # Bob calls his own KME
    with pytest.raises(BadRequest, match="'carol' is not known to KME kme-b"):
        etsi014.check_master(CONFIG, "alice", "carol")
    with pytest.raises(BadRequest):
        etsi014.check_master(CONFIG, "alice", "alice")
    etsi014.check_master(dataclasses.replace(CONFIG, allow_self_pair=True), "alice", "alice")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"kme_id": "a b"}, "a b"),
        ({"kme_id": ""}, "''"),
        ({"peer_kme_id": "kme-a"}, "kme-a"),
        ({"local_saes": frozenset({"x/y"})}, "x/y"),
        ({"remote_saes": frozenset({"alice"})}, "alice"),
        ({"key_size": 257}, "multiples of 8"),
        ({"min_key_size": 512}, "512"),
        ({"max_key_size": 128}, "128"),
        ({"max_key_per_request": 0}, "1 .. 1024"),
    ],
)
def test_an_impossible_configuration_is_named(change: dict[str, Any], named: str):
    with pytest.raises(errors.ParameterError, match=named):
        dataclasses.replace(CONFIG, **change)


def test_status_has_the_eleven_fields_of_clause_6_1():
    status = json.loads(msgspec.json.encode(etsi014.status_of(CONFIG, "alice", "bob", 25_000)))
    assert status == {
        "source_KME_ID": "kme-a",
        "target_KME_ID": "kme-b",
        "master_SAE_ID": "alice",
        "slave_SAE_ID": "bob",
        "key_size": 256,
        "stored_key_count": 25_000,
        "max_key_count": 100_000,
        "max_key_per_request": 128,
        "max_key_size": 4096,
        "min_key_size": 64,
        "max_SAE_ID_count": 0,
    }


def provenance(block: int, qber_z: float, created_s: int, *, simulated: bool) -> Provenance:
    return Provenance(block, "00" * 16, qber_z, 0.02, 1e-10, "lab", simulated, created_s)


def delivered(*sources: Provenance) -> DeliveredKey:
    return DeliveredKey(KEY_ID, bytes(range(240, 256)), 128, "alice", ("bob",), sources)


def test_a_container_is_base64_with_provenance_and_no_absent_optionals():
    container = etsi014.container_of([delivered(provenance(7, 0.01, 1_700_000_000, simulated=False))])
    # RFC 4648 section 4 by hand: f0f1f2 -> "8PHy", ..., ff -> "/w==".
    assert json.loads(msgspec.json.encode(container)) == {
        "keys": [
            {
                "key_ID": KEY_ID,
                "key": "8PHy8/T19vf4+fr7/P3+/w==",
                "key_extension": {
                    "eqkd_block": 7,
                    "eqkd_qber_z": 0.01,
                    "eqkd_qber_x": 0.02,
                    "eqkd_eps_total": 1e-10,
                    "eqkd_label": "lab",
                    "eqkd_simulated": False,
                    "eqkd_created": "2023-11-14T22:13:20Z",  # date -u -d @1700000000
                },
            }
        ]
    }
    assert "xf0" not in repr(container)


def test_a_key_of_several_blocks_reports_the_worst_of_them():
    sources = (provenance(7, 0.01, 200, simulated=False), provenance(8, 0.03, 100, simulated=True))
    extension = etsi014.container_of([delivered(*sources)]).keys[0].key_extension
    assert extension["eqkd_block"] == 7
    assert extension["eqkd_further_blocks"] == [8]
    assert extension["eqkd_qber_z"] == 0.03
    assert extension["eqkd_eps_total"] == 2e-10
    assert extension["eqkd_simulated"] is True
    assert extension["eqkd_created"] == "1970-01-01T00:01:40Z"


@pytest.mark.parametrize(
    ("error", "status", "message", "details"),
    [
        (errors.KeyNotFound("x"), 400, "one or more keys specified are not found on KME", []),
        (errors.NotAuthorised("SAE 'x' was not named"), 401, "SAE 'x' was not named", []),
        (
            errors.KeyExhausted("x", available=2, requested=3),
            503,
            "not enough key in store",
            [{"available": 2}, {"requested": 3}],
        ),
        (errors.PeerUnreachable("KME b is away"), 503, "KME b is away", [{"peer_KME": "unreachable"}]),
        (errors.KeyStoreError("/secret/path"), 503, "the key store cannot answer now", []),
        (errors.ParameterError("of ours"), 500, "internal error of this KME", []),
        (ZeroDivisionError("bug"), 500, "internal error of this KME", []),
    ],
)
def test_errors_answer_with_the_codes_of_tables_4_6_8(
    error: Exception, status: int, message: str, details: list[object]
):
    reply = etsi014.reply_to(error)
    assert (reply.status, reply.body.message, reply.body.details) == (status, message, details)
    assert (reply.retry_after_s > 0) == (status == 503)
    assert ("details" in json.loads(msgspec.json.encode(reply.body))) == bool(details)


def test_the_published_openapi_document_is_the_one_served():
    path = Path(__file__).parents[1] / "docs" / "openapi-etsi014.json"
    assert path.read_text() == json.dumps(openapi.document(), indent=2) + "\n"


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("Status", lambda: etsi014.status_of(CONFIG, "alice", "bob", 1)),
        ("KeyContainer", lambda: etsi014.container_of([delivered(provenance(1, 0.0, 0, simulated=True))])),
        ("ErrorBody", lambda: etsi014.reply_to(errors.KeyExhausted("x", available=0, requested=1)).body),
    ],
)
def test_answers_satisfy_the_openapi_schemas(name: str, make: Callable[[], msgspec.Struct]):
    document = openapi.document()
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(json.loads(msgspec.json.encode(make())))


def test_every_reference_of_the_openapi_document_resolves():
    document = openapi.document()
    references = set()

    def collect(value: object) -> None:
        if isinstance(value, dict):
            references.update({value["$ref"]} if "$ref" in value else set())
            for inner in value.values():
                collect(inner)
        elif isinstance(value, list):
            for inner in value:
                collect(inner)

    collect(document)
    assert references
    names = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references <= names
