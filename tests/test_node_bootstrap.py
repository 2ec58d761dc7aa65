"""`qkd node` with [bootstrap]: identities in files, two stations that begin without a shared secret, and bad input."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from qkd.errors import KeyStoreError, ParameterError
from qkd.exchange.identity import signing_key
from qkd.kms.identities import create_identity, load_identity, load_public
from qkd.node.config import load, resolved
from qkd.node.service import open_identity, open_store
from tests.commands import assert_refused, qkd
from tests.live import LiveLink


def use_keys(link: LiveLink, role: str, peer_file: str) -> None:
    """Rewrite a station's configuration to begin with its own key and `peer_file`."""
    path = link.folder / f"{role}.toml"
    text = path.read_text().replace('pre_shared = "pre-shared"\n', "")
    path.write_text(f'{text}[bootstrap]\nsigning_key = "{role}.id"\npeer = "{peer_file}"\n')


@pytest.fixture
def link(tmp_path: Path) -> Iterator[LiveLink]:
    link = LiveLink(tmp_path)
    for role in ("alice", "bob", "mallory"):
        create_identity(tmp_path / f"{role}.id")
    use_keys(link, "alice", "bob.id.pub")
    use_keys(link, "bob", "alice.id.pub")
    yield link
    link.stop()


def test_two_stations_begin_make_key_and_find_each_other_again(link: LiveLink) -> None:
    """No file of shared bits anywhere; after a kill they go on with the keys that their first block gave them."""
    (link.folder / "pre-shared").unlink()
    link.start_source()
    link.start_node("alice")
    link.start_node("bob")
    begun = {role: link.wait_for(role, lambda e: e.get("event") == "begun", 60) for role in ("alice", "bob")}
    assert begun["alice"]["link"] == begun["bob"]["link"]
    first = link.wait_for("bob", lambda e: e.get("event") == "block" and e["block"] == 0, 60)
    assert "authenticated computationally" in first["label"]
    later = link.wait_for("bob", lambda e: e.get("event") == "block" and e["block"] == 1, 60)
    assert "the link began with ML-KEM-1024" in later["label"]
    link.kill("bob")
    last = max(b["block"] for b in link.blocks("alice") + link.blocks("bob"))
    link.events["bob"].clear()
    link.start_node("bob")
    link.wait_for("bob", lambda e: e.get("event") == "block" and e["block"] > last, 60)
    assert not [e for e in link.events["bob"] if e.get("event") == "begun"]
    for role in ("alice", "bob"):
        assert "Traceback" not in link.said(role)


@pytest.mark.slow
def test_the_wrong_peer_key_stops_both_with_the_fingerprints(link: LiveLink) -> None:
    use = link.folder / "bob.toml"
    use.write_text(use.read_text().replace("alice.id.pub", "mallory.id.pub"))
    link.start_source()
    link.start_node("alice")
    link.start_node("bob")
    for role in ("alice", "bob"):
        assert link.children[role].wait(timeout=60) == 1
        assert "Traceback" not in link.said(role)
    shown = qkd("pki", "show", "mallory.id.pub", "--json", cwd=link.folder)
    assert json.loads(shown.stdout)["fingerprint_sha256"] in link.said("alice")


@pytest.mark.slow
def test_a_file_at_one_end_and_keys_at_the_other_stop_both(link: LiveLink) -> None:
    link.configure("bob", "alice")
    link.start_source()
    link.start_node("alice")
    link.start_node("bob")
    for role in ("alice", "bob"):
        assert link.children[role].wait(timeout=60) == 1
        assert "pre-shared file" in link.said(role)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[bootstrap]", "[store.x]\n[bootstrap]", ["store.x"]),
        ('signing_key = "alice.id"', "", ["signing_key"]),
        ('signing_key = "alice.id"', 'signing_key = "nowhere"', ["nowhere"]),
        ('signing_key = "alice.id"', 'signing_key = "pre-shared"', ["pre-shared", "PEM"]),
        ('signing_key = "alice.id"', 'signing_key = "alice.key"', ["alice.key", "ML-DSA-87"]),
        ('signing_key = "alice.id"', 'signing_key = "alice.id.pub"', ["alice.id.pub", "0644"]),
        ('peer = "bob.id.pub"', 'peer = "alice.id.pub"', ["own"]),
        ('peer = "bob.id.pub"', 'peer = "bob.crt"', ["bob.crt"]),
        ('peer = "bob.id.pub"', 'peer = "bob.id"', ["bob.id", "public"]),
        ('peer = "bob.id.pub"', 'peer = "none.pub"', ["none.pub", "carry"]),
        ("[bootstrap]", "[bootstrap]\nkey = 1", ["bootstrap.key"]),
    ],
)
def test_bad_configurations_are_named(link: LiveLink, old: str, new: str, words: list[str]) -> None:
    path = link.folder / "alice.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ParameterError) as caught:
        open_identity(load(path))
    for word in words:
        assert word in f"{caught.value} {caught.value.hint}"


def test_exactly_one_way_to_begin(link: LiveLink) -> None:
    path = link.folder / "alice.toml"
    both = path.read_text().replace("[store]\n", '[store]\npre_shared = "pre-shared"\n')
    neither = path.read_text().split("[bootstrap]")[0]
    for text in (both, neither):
        path.write_text(text)
        with pytest.raises(ParameterError, match=r"exactly one of store\.pre_shared"):
            load(path)


def test_the_configuration_is_shown_with_its_bootstrap(link: LiveLink) -> None:
    shown = resolved(load(link.folder / "alice.toml"))
    assert '[bootstrap]\nsigning_key = "alice.id"\npeer = "bob.id.pub"\n' in shown
    (link.folder / "again.toml").write_text(shown)
    assert load(link.folder / "again.toml") == load(link.folder / "alice.toml")


def test_a_signing_key_that_others_can_read_is_refused(link: LiveLink) -> None:
    (link.folder / "alice.id").chmod(0o640)
    assert_refused(qkd("node", "alice.toml", cwd=link.folder, timeout=60), 2, "alice.id", "chmod 600")


def test_a_store_that_began_with_a_file_is_not_taken_over(link: LiveLink) -> None:
    with_keys = load(link.folder / "alice.toml")
    link.configure("alice", "bob")
    with_file = load(link.folder / "alice.toml")
    open_store(with_file).close()
    with pytest.raises(KeyStoreError, match="began with a pre-shared file"):
        open_store(with_keys)
    open_store(with_file).close()


def test_a_store_that_began_with_keys_takes_no_file_and_does_not_mark_it_as_used(link: LiveLink) -> None:
    store = open_store(load(link.folder / "alice.toml"))
    store.begin(bytes(2048), bytes(32))
    store.close()
    link.configure("alice", "bob")
    with pytest.raises(KeyStoreError, match="began with signing keys"):
        open_store(load(link.folder / "alice.toml"))
    assert not list(link.folder.glob("*.used"))


def test_identity_files_are_private_unique_and_show_no_secret(tmp_path: Path) -> None:
    made = qkd("pki", "identity", "--out", "x.id", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert made.stdout.split() == ["x.id", "x.id.pub"]
    assert (tmp_path / "x.id").stat().st_mode & 0o777 == 0o600
    pem = (tmp_path / "x.id").read_bytes()
    private = serialization.load_pem_private_key(pem, None)
    assert private.private_bytes_raw().hex() not in made.stdout + made.stderr  # type: ignore[union-attr]
    assert pem.decode().splitlines()[1] not in made.stdout + made.stderr
    shown = qkd("pki", "show", "x.id.pub", cwd=tmp_path)
    fingerprint = shown.stdout.split("fingerprint_sha256")[1].strip()
    assert fingerprint in made.stderr
    assert_refused(qkd("pki", "identity", "--out", "x.id", cwd=tmp_path), 2, "exists already")
    assert (tmp_path / "x.id").read_bytes() == pem
    (tmp_path / "x.id").unlink()
    assert_refused(qkd("pki", "identity", "--out", "x.id", cwd=tmp_path), 2, "x.id.pub", "exists already")
    assert not (tmp_path / "x.id").exists()
    assert_refused(qkd("pki", "identity", "--out", "none/x.id", cwd=tmp_path), 2, "no such file")


def test_errors_and_representations_quote_nothing_of_a_key(tmp_path: Path) -> None:
    create_identity(tmp_path / "a")
    create_identity(tmp_path / "b")
    body = (tmp_path / "a").read_text().splitlines()[1]
    (tmp_path / "a.broken").write_text((tmp_path / "a").read_text().replace("PRIVATE", "PRIVAT"))
    (tmp_path / "a.broken").chmod(0o600)
    with pytest.raises(ParameterError) as caught:
        load_identity(tmp_path / "a.broken", tmp_path / "b.pub")
    assert body not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert body not in repr(load_identity(tmp_path / "a", tmp_path / "b.pub"))
    with pytest.raises(ParameterError, match="32 bytes, not 31"):
        signing_key(bytes(31))


def test_only_ml_dsa_87_keys_are_taken(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "ec.pub").write_bytes(pem)
    with pytest.raises(ParameterError, match="not an ML-DSA-87"):
        load_public(tmp_path / "ec.pub")
    assert_refused(qkd("pki", "show", "ec.pub", cwd=tmp_path), 2, "ML-DSA-87")
