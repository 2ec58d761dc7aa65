"""Two KMEs over real TLS: round trips, rules, errors, a failing peer, recovery, an independent client."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import logging
import re
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from etsi_qkd_014_client import QKD014Client

from qkd import errors
from qkd.kms.key import UnitState
from tests.kmes import Certificates, Kme, TwoKmes, block

NIL = "00000000-0000-0000-0000-000000000000"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def kmes(tmp_path: Path, certificates: Certificates) -> Iterator[TwoKmes]:
    with TwoKmes(tmp_path, certificates) as both:
        both.fill(0, 40)  # 20 units of 256 bits for each node's masters
        yield both


def context_of(kmes: TwoKmes, name: str, authority: str = "pki") -> ssl.SSLContext:
    cert, key, ca = kmes.certificates.of(name, authority=authority)
    context = ssl.create_default_context(cafile=str(ca))
    context.load_cert_chain(cert, key)
    return context


def call(
    kmes: TwoKmes, kme: Kme, name: str, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, Any, http.client.HTTPMessage]:
    """One request by a client that knows nothing of ours: status, JSON, headers."""
    line = http.client.HTTPSConnection("127.0.0.1", kme.port, context=context_of(kmes, name), timeout=10)
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    if data is not None:
        headers = {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
    line.request(method, path, data, headers)
    response = line.getresponse()
    text = response.read()
    line.close()
    assert response.headers["Content-Type"].startswith("application/json"), text
    return response.status, json.loads(text), response.headers


def census(kme: Kme) -> dict[UnitState, int]:
    return {state: count for state, count in kme.store.unit_census().items() if count}


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


# --- the round trip ---


def test_both_sides_get_the_same_keys_once(kmes: TwoKmes):
    alice, bob = kmes.client("alice-1"), kmes.client("bob-1")
    before = alice.status("bob-1").stored_key_count
    sent = alice.enc_keys("bob-1", number=3)
    received = bob.dec_keys("alice-1", [key.key_id for key in sent])
    assert [(k.key_id, k.key) for k in sent] == [(k.key_id, k.key) for k in received]
    # The bytes are those of the block that the engines agreed on: units 0, 2, 4 are Alice's node's.
    secret = block(0, 40).key
    assert [k.key for k in sent] == [secret[64 * i : 64 * i + 32] for i in range(3)]
    assert before - alice.status("bob-1").stored_key_count == 3
    with pytest.raises(errors.KeyNotFound):
        bob.dec_keys("alice-1", [sent[0].key_id])
    assert census(kmes.a) == census(kmes.b) == {UnitState.AVAILABLE: 37, UnitState.DELIVERED: 3}


def test_the_other_direction_and_other_pairs(kmes: TwoKmes):
    sent = kmes.client("bob-2").enc_keys("alice-2")
    assert kmes.client("alice-2").dec_keys("bob-2", [sent[0].key_id])[0].key == sent[0].key


@pytest.mark.parametrize("size", [64, 128, 256, 264, 1000, 4096])
def test_any_size_is_the_same_at_both_ends(kmes: TwoKmes, size: int):
    sent = kmes.client("alice-1").enc_keys("bob-1", size=size)
    received = kmes.client("bob-1").dec_keys("alice-1", [sent[0].key_id])
    assert sent[0].key == received[0].key
    assert 8 * len(sent[0].key) == size


def test_status_names_who_is_who(kmes: TwoKmes):
    status = kmes.client("alice-1").status("bob-1")
    assert (status.source_kme_id, status.target_kme_id) == ("kme-a", "kme-b")
    assert (status.master_sae_id, status.slave_sae_id) == ("alice-1", "bob-1")
    assert (status.stored_key_count, status.max_sae_id_count) == (20, 0)


def test_a_key_says_where_it_comes_from(kmes: TwoKmes):
    extension = kmes.client("alice-1").enc_keys("bob-1")[0].extension
    assert extension["eqkd_block"] == 0
    assert extension["eqkd_qber_z"] == 20 / 1000
    assert extension["eqkd_qber_x"] == 15 / 500
    assert extension["eqkd_simulated"] is True
    assert extension["eqkd_label"] == "test"


def test_get_and_post_forms_of_both_methods(kmes: TwoKmes):
    status, sent, headers = call(kmes, kmes.a, "alice-1", "GET", "/api/v1/keys/bob-1/enc_keys?number=2&size=128")
    assert status == 200
    assert headers["Cache-Control"] == "no-store"
    status, more, _ = call(kmes, kmes.a, "alice-1", "POST", "/api/v1/keys/bob-1/enc_keys", {})
    assert status == 200
    keys = sent["keys"] + more["keys"]
    assert [8 * len(base64.b64decode(k["key"])) for k in keys] == [128, 128, 256]
    path = "/api/v1/keys/alice-1/dec_keys"
    _, first, _ = call(kmes, kmes.b, "bob-1", "GET", f"{path}?key_ID={keys[0]['key_ID'].upper()}")
    body = {"key_IDs": [{"key_ID": k["key_ID"]} for k in keys[1:]]}
    _, others, _ = call(kmes, kmes.b, "bob-1", "POST", path, body)
    received = first["keys"] + others["keys"]
    assert [(k["key_ID"], k["key"]) for k in received] == [(k["key_ID"], k["key"]) for k in keys]


# --- rules ---


def test_an_unregistered_sae_is_unauthorised_everywhere(kmes: TwoKmes):
    sent = kmes.client("alice-1").enc_keys("bob-1")
    stranger = kmes.client("stranger")
    with pytest.raises(errors.NotAuthorised):
        stranger.status("bob-1")
    with pytest.raises(errors.NotAuthorised):
        stranger.enc_keys("bob-1")
    for kme in (kmes.a, kmes.b):
        answer = call(kmes, kme, "stranger", "GET", f"/api/v1/keys/alice-1/dec_keys?key_ID={sent[0].key_id}")
        assert answer[0] == 401
        assert "stranger" in answer[1]["message"]
    assert kmes.client("bob-1").dec_keys("alice-1", [sent[0].key_id])[0].key == sent[0].key


def test_one_key_of_another_pair_spoils_the_request_and_consumes_nothing(kmes: TwoKmes):
    alice = kmes.client("alice-1")
    mine, other = alice.enc_keys("bob-1")[0], alice.enc_keys("bob-2")[0]
    with pytest.raises(errors.NotAuthorised):
        kmes.client("bob-1").dec_keys("alice-1", [mine.key_id, other.key_id])
    assert kmes.client("bob-1").dec_keys("alice-1", [mine.key_id])[0].key == mine.key
    assert kmes.client("bob-2").dec_keys("alice-1", [other.key_id])[0].key == other.key


def test_an_unknown_key_or_a_wrong_master_is_not_found_and_consumes_nothing(kmes: TwoKmes):
    bob = kmes.client("bob-1")
    sent = kmes.client("alice-1").enc_keys("bob-1")[0]
    for master, key_ids in (("alice-1", [sent.key_id, NIL]), ("alice-2", [sent.key_id]), ("nobody", [sent.key_id])):
        with pytest.raises(errors.KeyNotFound, match="one or more keys specified are not found on KME"):
            bob.dec_keys(master, key_ids)
    assert bob.dec_keys("alice-1", [sent.key_id])[0].key == sent.key


def test_the_master_cannot_collect_its_own_key_as_slave(kmes: TwoKmes):
    sent = kmes.client("alice-1").enc_keys("bob-1")[0]
    with pytest.raises(errors.KeyNotFound):
        kmes.client("alice-1").dec_keys("alice-1", [sent.key_id])


def test_more_than_there_is_gives_nothing_and_says_how_much(kmes: TwoKmes):
    answer = call(kmes, kmes.a, "alice-1", "GET", "/api/v1/keys/bob-1/enc_keys?number=21")
    assert answer[0] == 503
    assert answer[1]["details"] == [{"available": 20}, {"requested": 21}]
    assert int(answer[2]["Retry-After"]) > 0
    assert len(kmes.client("alice-1").enc_keys("bob-1", number=20)) == 20
    with pytest.raises(errors.KeyExhausted) as caught:
        kmes.client("alice-1").enc_keys("bob-1")
    assert (caught.value.available, caught.value.requested) == (0, 1)


PATH = "/api/v1/keys/bob-1/enc_keys"
EXTENSIONS = "not all extension_mandatory parameters are supported"
NOT_FOUND = "one or more keys specified are not found on KME"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("GET", f"{PATH}?size=257", None, 400, "^size shall be a multiple of 8$"),
        ("GET", f"{PATH}?number=129", None, 400, "max_key_per_request = 128"),
        ("GET", f"{PATH}?number=1&number=2", None, 400, "twice"),
        ("GET", f"{PATH}?size=256&foo=1", None, 400, "unknown query parameter 'foo'"),
        ("GET", PATH, {"number": 2}, 400, "use POST"),
        ("POST", f"{PATH}?number=2", {}, 400, "unknown query parameter"),
        ("POST", PATH, b"", 400, "empty"),
        ("POST", PATH, b"{", 400, "not JSON"),
        ("POST", PATH, {"additional_slave_SAE_IDs": ["bob-2"]}, 400, "max_SAE_ID_count is 0"),
        ("POST", PATH, {"extension_mandatory": [{"a": 1}]}, 400, f"^{EXTENSIONS}$"),
        ("POST", PATH, b" " * (1 << 20) + b"{}", 413, "longer than"),
        ("GET", "/api/v1/keys/carol/enc_keys", None, 400, "slave SAE 'carol' is not known"),
        ("GET", "/api/v1/keys/alice-1/enc_keys", None, 400, "slave SAE 'alice-1' is not known"),
        ("GET", "/api/v1/keys/%0d%0aX/status", None, 400, "not known"),
        ("GET", "/api/v1/keys/bob-1/status?x=1", None, 400, "takes none"),
        ("GET", f"/api/v1/keys/bob-1/dec_keys?key_ID={NIL}", None, 400, f"^{NOT_FOUND}$"),
        ("GET", f"/api/v1/keys/bob-1/dec_keys?key_ID={NIL}&key_ID={NIL}", None, 400, "use POST"),
        ("GET", "/api/v1/keys/bob-1/dec_keys", None, 400, "missing"),
        ("GET", "/api/v1/keys/bob-1", None, 404, "no such resource"),
        ("GET", "/api/v1/keys/bob-1/status/", None, 404, "no such resource"),
        ("GET", "/", None, 404, "no such resource"),
        ("DELETE", PATH, None, 405, "Method Not Allowed"),
        ("PUT", "/api/v1/keys/bob-1/status", {}, 405, "Method Not Allowed"),
        ("POST", "/peer/v1/assign", {"assignments": []}, 401, "for a KME"),
        ("POST", "/peer/v1/void", {"assignments": []}, 401, "for a KME"),
    ],
)  # fmt: skip
def test_every_error_is_json_with_a_message(
    kmes: TwoKmes, method: str, path: str, body: Any, status: int, message: str
):
    answer = call(kmes, kmes.a, "alice-1", method, path, body)
    assert answer[0] == status
    assert re.search(message, answer[1]["message"])
    assert set(answer[1]) <= {"message", "details"}
    assert census(kmes.a) == {UnitState.AVAILABLE: 40}


def test_a_body_that_is_not_announced_as_json_is_refused(kmes: TwoKmes):
    answer = call(kmes, kmes.a, "alice-1", "POST", PATH, {}, Content_Type="text/plain")
    assert (answer[0], answer[1]["message"]) == (415, "the body must be application/json")
    assert call(kmes, kmes.a, "alice-1", "POST", PATH, {}, Content_Type="application/json; charset=utf-8")[0] == 200


def test_head_does_not_consume_keys(kmes: TwoKmes):
    line = http.client.HTTPSConnection("127.0.0.1", kmes.a.port, context=context_of(kmes, "alice-1"), timeout=10)
    line.request("HEAD", PATH)
    assert line.getresponse().status == 405
    line.close()
    assert census(kmes.a) == {UnitState.AVAILABLE: 40}


def test_a_bug_of_ours_is_a_500_that_tells_nothing(kmes: TwoKmes, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise ZeroDivisionError("internal detail")

    monkeypatch.setattr(kmes.a.store, "stored_key_count", broken)
    answer = call(kmes, kmes.a, "alice-1", "GET", "/api/v1/keys/bob-1/status", Accept="text/html")
    assert answer[:2] == (500, {"message": "internal error of this KME"})


# --- who is calling ---


def test_a_kme_is_no_sae_and_no_other_kme_is_the_peer(kmes: TwoKmes):
    assert call(kmes, kmes.a, "kme-b", "GET", "/api/v1/keys/bob-1/status")[0] == 401
    for name in ("kme-x", "kme-a"):
        answer = call(kmes, kmes.a, name, "POST", "/peer/v1/assign", {"assignments": []})
        assert answer[0] == 401
    assert call(kmes, kmes.a, "kme-b", "POST", "/peer/v1/assign", {"assignments": []})[:2] == (200, {})


@pytest.mark.parametrize(("name", "authority"), [(None, "pki"), ("alice-1", "foreign"), ("expired", "pki")])
def test_without_a_valid_certificate_there_is_no_connection(kmes: TwoKmes, name: str | None, authority: str):
    context = ssl.create_default_context(cafile=str(kmes.certificates.of("kme-a")[2]))
    if name is not None:
        context.load_cert_chain(*kmes.certificates.of(name, authority=authority)[:2])
    line = http.client.HTTPSConnection("127.0.0.1", kmes.a.port, context=context, timeout=10)

    # In TLS 1.3 the client learns of the refusal when it reads.
    def ask() -> None:
        line.request("GET", "/api/v1/keys/bob-1/status")
        line.getresponse()

    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask()
    line.close()


def test_an_old_tls_version_is_refused(kmes: TwoKmes):
    context = context_of(kmes, "alice-1")
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    line = http.client.HTTPSConnection("127.0.0.1", kmes.a.port, context=context, timeout=10)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        line.request("GET", "/")


def test_the_log_tells_who_did_what_and_no_key(kmes: TwoKmes, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.DEBUG):
        sent = kmes.client("alice-1").enc_keys("bob-1", number=2)
        kmes.client("bob-1").dec_keys("alice-1", [k.key_id for k in sent])
    lines = [r.getMessage() for r in caplog.records if r.name == "qkd.kms"]
    assert f"GET {PATH} caller=sae:alice-1 status=200 keys=2" in lines
    assert "POST /api/v1/keys/alice-1/dec_keys caller=sae:bob-1 status=200 keys=2" in lines
    assert sum("caller=kme:kme-a" in line for line in lines) == 1
    for key in sent:
        assert base64.b64encode(key.key).decode() not in caplog.text
        assert key.key.hex() not in caplog.text
        assert repr(key.key) not in caplog.text


# --- agreement ---


def test_the_peer_registers_its_own_saes(kmes: TwoKmes):
    """A refusal by the peer costs the units at both ends and gives nothing out."""
    object.__setattr__(kmes.b.config, "local_saes", frozenset({"bob-2"}))
    with pytest.raises(errors.PeerUnreachable, match="refused"):
        kmes.client("alice-1").enc_keys("bob-1")
    wait_for(lambda: UnitState.RESERVED not in census(kmes.a))
    assert census(kmes.a) == census(kmes.b) == {UnitState.AVAILABLE: 39, UnitState.VOID: 1}


def test_peer_down_gives_503_and_costs_only_what_was_on_its_way(kmes: TwoKmes):
    alice = kmes.client("alice-1")
    kmes.run(kmes.b.stop())
    for _ in range(3):
        answer = call(kmes, kmes.a, "alice-1", "GET", PATH)
        assert answer[0] == 503
        assert answer[1]["details"] == [{"peer_KME": "unreachable"}]
        assert "Retry-After" in answer[2]
    assert census(kmes.a) == {UnitState.AVAILABLE: 39, UnitState.RESERVED: 1}
    kmes.run(kmes.b.start(kmes.a.port))
    wait_for(lambda: UnitState.RESERVED not in census(kmes.a))
    assert census(kmes.a) == census(kmes.b) == {UnitState.AVAILABLE: 39, UnitState.VOID: 1}
    sent = alice.enc_keys("bob-1")
    assert kmes.client("bob-1").dec_keys("alice-1", [sent[0].key_id])[0].key == sent[0].key


def test_a_lost_answer_to_assign_is_void_at_both_ends(kmes: TwoKmes):
    kmes.a.peer.after = errors.PeerUnreachable("the answer was lost")
    with pytest.raises(errors.PeerUnreachable):
        kmes.client("alice-1").enc_keys("bob-1", number=4)
    wait_for(lambda: UnitState.RESERVED not in census(kmes.a))
    assert census(kmes.a) == census(kmes.b) == {UnitState.AVAILABLE: 36, UnitState.VOID: 4}


def test_void_wins_over_an_assign_that_arrives_late(kmes: TwoKmes):
    late = kmes.a.store.reserve("alice-1", ("bob-1",), 2, 256)
    kmes.run(kmes.a.peer.void(late))
    kmes.run(kmes.a.peer.void(late))  # again: no harm
    with pytest.raises(errors.RemoteProtocolError, match="not found"):
        kmes.run(kmes.a.peer.assign(late))
    assert kmes.b.store.assigned() == []
    assert census(kmes.b)[UnitState.VOID] == 2


def test_the_peer_cannot_void_what_is_ours(kmes: TwoKmes):
    kmes.client("alice-1").enc_keys("bob-1")
    ours = kmes.b.store.reserve("bob-1", ("alice-1",), 1, 256)
    kmes.run(kmes.a.peer.void(ours))
    assert kmes.b.store.reserved() == ours


def test_the_peer_cannot_assign_for_foreign_saes_or_twice(kmes: TwoKmes):
    units = kmes.a.store.reserve("alice-1", ("bob-1",), 1, 256)
    kmes.run(kmes.a.peer.assign(units))
    kmes.run(kmes.a.peer.assign(units))  # a repeated message is no second key
    assert kmes.b.store.assigned() == units
    for master, slaves in (("alice-2", ("bob-1",)), ("mallory", ("bob-1",)), ("alice-1", ("carol",)), ("alice-1", ())):
        changed = [type(u)(u.key_id, u.unit_ids, u.size_bits, master, slaves) for u in units]
        with pytest.raises(errors.RemoteProtocolError):
            kmes.run(kmes.a.peer.assign(changed))
    assert kmes.b.store.assigned() == units


@pytest.mark.parametrize("where", ["before assign", "before deliver"])
def test_after_a_crash_recovery_voids_both_sides(
    kmes: TwoKmes, monkeypatch: pytest.MonkeyPatch, where: str, caplog: pytest.LogCaptureFixture
):
    # A process that dies does nothing more: no answer, no taking back.
    monkeypatch.setattr(kmes.a.manager, "_take_back", lambda _: None)
    if where == "before assign":
        kmes.a.peer.before = errors.PeerUnreachable("died")
    else:
        monkeypatch.setattr(kmes.a.store, "deliver_reserved", lambda _: 1 / 0)
    with pytest.raises(errors.QkdError):
        kmes.client("alice-1").enc_keys("bob-1", number=3)
    assert census(kmes.a)[UnitState.RESERVED] == 3
    assert census(kmes.b).get(UnitState.ASSIGNED, 0) == (3 if where == "before deliver" else 0)

    kmes.run(kmes.a.stop())
    kmes.a.store.close()
    kmes.run(kmes.b.stop())  # recovery must bear that the peer is not there yet
    kmes.a.open_store()
    kmes.run(kmes.a.start(kmes.b.port))
    assert census(kmes.a)[UnitState.RESERVED] == 3
    kmes.run(kmes.b.start(kmes.a.port))
    wait_for(lambda: UnitState.RESERVED not in census(kmes.a))
    assert census(kmes.a) == census(kmes.b) == {UnitState.AVAILABLE: 37, UnitState.VOID: 3}
    assert len(kmes.client("alice-1").enc_keys("bob-1")) == 1


def test_a_store_that_fails_to_deliver_takes_the_keys_back(kmes: TwoKmes, monkeypatch: pytest.MonkeyPatch):
    def full(_: object) -> None:
        raise errors.KeyStoreError("disk full at /somewhere")

    with monkeypatch.context() as patched:
        patched.setattr(kmes.a.store, "deliver_reserved", full)
        answer = call(kmes, kmes.a, "alice-1", "GET", PATH)
    assert answer[:2] == (503, {"message": "the key store cannot answer now"})
    wait_for(lambda: UnitState.RESERVED not in census(kmes.a))
    assert census(kmes.a) == census(kmes.b) == {UnitState.AVAILABLE: 39, UnitState.VOID: 1}


def test_fifty_at_once_get_distinct_keys_that_can_all_be_collected(kmes: TwoKmes):
    kmes.fill(1, 100)

    def fetch(i: int) -> tuple[str, str, str, bytes]:
        master, slave = ("alice-1", "bob-1") if i % 2 else ("bob-2", "alice-2")
        with kmes.client(master) as client:
            key = client.enc_keys(slave)[0]
        return master, slave, key.key_id, key.key

    with ThreadPoolExecutor(50) as pool:
        sent = list(pool.map(fetch, range(50)))
    assert len({key_id for _, _, key_id, _ in sent}) == len({key for *_, key in sent}) == 50
    clients = {name: kmes.client(name) for name in ("bob-1", "alice-2")}
    for master, slave, key_id, key in sent:
        assert clients[slave].dec_keys(master, [key_id])[0].key == key
    assert census(kmes.a) == census(kmes.b) == {UnitState.AVAILABLE: 90, UnitState.DELIVERED: 50}


def test_one_key_raced_for_by_many_is_collected_once(kmes: TwoKmes):
    sent = kmes.client("alice-1").enc_keys("bob-1")[0]

    def fetch(_: int) -> bool:
        with kmes.client("bob-1") as client:
            try:
                return client.dec_keys("alice-1", [sent.key_id])[0].key == sent.key
            except errors.KeyNotFound:
                return False

    with ThreadPoolExecutor(10) as pool:
        assert sum(pool.map(fetch, range(10))) == 1


def test_a_pair_with_oneself_is_opt_in_and_leaves_nothing_at_the_peer(kmes: TwoKmes):
    object.__setattr__(kmes.a.config, "allow_self_pair", True)
    alice = kmes.client("alice-1")
    assert alice.status("alice-1").target_kme_id == "kme-a"
    sent = alice.enc_keys("alice-1", number=2)
    for master in ("alice-1", "alice-2"):
        with pytest.raises(errors.KeyNotFound):
            kmes.client("alice-2").dec_keys(master, [sent[0].key_id])
    received = alice.dec_keys("alice-1", [k.key_id for k in sent])
    assert [k.key for k in received] == [k.key for k in sent]
    with pytest.raises(errors.KeyNotFound):
        alice.dec_keys("alice-1", [sent[0].key_id])
    assert census(kmes.b) == {UnitState.AVAILABLE: 38, UnitState.VOID: 2}


# --- others ---


def test_openapi_is_served(kmes: TwoKmes):
    published = Path(__file__).parents[1] / "docs" / "openapi-etsi014.json"
    assert call(kmes, kmes.a, "alice-1", "GET", "/openapi.json")[1] == json.loads(published.read_text())


def test_an_independent_client_works(kmes: TwoKmes):
    """etsi-qkd-014-client 0.9.0 (LIP6, Sorbonne): it knows the standard and nothing of us."""

    def foreign(name: str, kme: Kme) -> QKD014Client:
        cert, key, ca = map(str, kmes.certificates.of(name))
        return QKD014Client(f"127.0.0.1:{kme.port}", cert, key, ca)

    alice, bob = foreign("alice-1", kmes.a), foreign("bob-1", kmes.b)
    code, status = alice.get_status("bob-1")
    assert (code, status.stored_key_count, status.key_size) == (200, 20, 256)
    code, default = alice.get_key("bob-1")
    assert code == 200
    code, sent = alice.get_key("bob-1", number=2, size=512, extension_optional=[{"abc_max_age": 1}])
    assert code == 200
    ids = [k.key_id for k in default.keys + sent.keys]
    code, received = bob.get_key_with_key_IDs("alice-1", ids)
    assert code == 200
    assert [(k.key_id, k.key) for k in received.keys] == [(k.key_id, k.key) for k in default.keys + sent.keys]
    code, again = bob.get_key_with_key_IDs("alice-1", ids)
    assert (code, again.message) == (400, "one or more keys specified are not found on KME")
    code, refused = foreign("stranger", kmes.a).get_status("bob-1")
    assert (code, refused.message) == (401, "SAE 'stranger' is not registered at KME kme-a")


def test_requests_of_one_connection_may_be_cut_off_anywhere(kmes: TwoKmes):
    """A client that vanishes in the middle of a request or before the answer harms nobody."""

    async def vanish(data: bytes) -> None:
        context = context_of(kmes, "alice-1")
        _, writer = await asyncio.open_connection("127.0.0.1", kmes.a.port, ssl=context)
        writer.write(data)
        await writer.drain()
        writer.transport.abort()

    request = f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    for cut in (0, 10, len(request) - 1, len(request)):
        asyncio.run(vanish(request[:cut]))
    wait_for(lambda: UnitState.RESERVED not in census(kmes.a))
    assert len(kmes.client("alice-1").enc_keys("bob-1")) == 1
    assert sum(census(kmes.a).values()) == 40
