"""`qkd node` and its surroundings met with bad input: one clear line, the documented exit code, no traceback."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from pathlib import Path

import pytest

from qkd.kms.pki import Authority, PeerKind
from qkd.kms.secretfile import create_secret_file
from tests.commands import assert_refused, qkd
from tests.live import SAE, LiveLink


@pytest.fixture
def link(tmp_path: Path) -> LiveLink:
    return LiveLink(tmp_path)


def edit(link: LiveLink, role: str, old: str, new: str) -> None:
    path = link.folder / f"{role}.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def node(link: LiveLink, role: str = "alice") -> object:
    return qkd("node", f"{role}.toml", cwd=link.folder, timeout=60)


@pytest.mark.parametrize(
    ("old", "new", "code", "word"),
    [
        ('role = "alice"', 'rôle = "alice"', 2, "TOML"),
        ('role = "alice"', 'role = "carol"', 2, "carol"),
        ("[session]", "[session]\nwindow = 3", 2, "session.window"),
        ("[session]", "[extra]\n[session]", 2, "extra"),
        ("[session]", "[monitors]\nfalse_alarm = 7\n[session]", 2, "false_alarm = 7"),
        ("[session]", "[monitors]\nlimit = 7\n[session]", 2, "monitors.limit"),
        ("block_bits = 20000", "block_bits = 1", 2, "block_bits"),
        ("block_bits = 20000", 'block_bits = "many"', 2, "block_bits"),
        ('pre_shared = "pre-shared"', 'pre_shared = "nowhere"', 2, "nowhere"),
        ('certificate = "alice.crt"', 'certificate = "bob.crt"', 2, "bob.crt"),
        ('listen = "127.0.0.1:', 'listen = "nonsense', 2, "nonsense"),
    ],
)
def test_bad_configurations_are_named(link: LiveLink, old: str, new: str, code: int, word: str) -> None:
    if new.startswith("certificate"):
        link.start_source()
    edit(link, "alice", old, new)
    try:
        assert_refused(qkd("node", "alice.toml", cwd=link.folder, timeout=60), code, word)
    finally:
        link.stop()


def test_no_tagger_is_one_line_with_a_hint(link: LiveLink) -> None:
    assert_refused(qkd("node", "alice.toml", cwd=link.folder), 1, "no tag feed", "hint")


def test_the_other_stations_feed_is_refused(link: LiveLink) -> None:
    link.start_source()
    edit(link, "alice", f":{link.ports['alice_feed']}", f":{link.ports['bob_feed']}")
    try:
        assert_refused(qkd("node", "alice.toml", cwd=link.folder), 1, "bob's, not alice's")
    finally:
        link.stop()


def test_secrets_that_others_can_read_are_refused(link: LiveLink) -> None:
    (link.folder / "pre-shared").chmod(0o644)
    assert_refused(qkd("node", "alice.toml", cwd=link.folder), 2, "pre-shared", "chmod")


@pytest.mark.parametrize("which", ["line", "alice"])
def test_a_port_in_use_is_named(link: LiveLink, which: str) -> None:
    link.start_source()
    with socket.create_server(("127.0.0.1", link.ports[which])):
        done = qkd("node", "alice.toml", cwd=link.folder)
    link.stop()
    assert_refused(done, 2, f"127.0.0.1:{link.ports[which]}", "choose another port")


def test_an_expired_certificate_is_named_with_its_date(link: LiveLink) -> None:
    Authority.load(link.folder).issue(PeerKind.KME, "alice", days=-1, force=True)
    link.start_source()
    done = qkd("node", "alice.toml", cwd=link.folder)
    link.stop()
    assert_refused(done, 2, "alice.crt", "expired")


def test_a_store_without_its_master_key_is_not_overwritten(link: LiveLink) -> None:
    (link.folder / "alice.db").write_bytes(b"something")
    assert_refused(qkd("node", "alice.toml", cwd=link.folder), 2, "master key")
    assert (link.folder / "alice.db").read_bytes() == b"something"


def test_a_damaged_store_is_named(link: LiveLink) -> None:
    create_secret_file(link.folder / "alice.master", 32)
    (link.folder / "alice.db").write_bytes(os.urandom(8192))
    assert_refused(qkd("node", "alice.toml", cwd=link.folder), 1, "alice.db")


def test_ends_that_disagree_stop_with_the_difference(link: LiveLink) -> None:
    edit(link, "bob", "block_bits = 20000", "block_bits = 30000")
    link.start_source()
    link.start_node("alice")
    link.start_node("bob")
    try:
        for role in ("alice", "bob"):
            assert link.children[role].wait(timeout=60) == 1
            assert "block_bits" in link.said(role)
            assert "Traceback" not in link.said(role)
    finally:
        link.stop()


def test_a_foreign_certificate_gets_no_line_and_the_true_peer_still_does(link: LiveLink, tmp_path: Path) -> None:
    """Another authority's Bob is refused by TLS; he keeps calling, Alice keeps listening, the real one gets through."""
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    other = Authority.create(foreign)
    other.issue(PeerKind.KME, "bob")
    link.start_source()
    link.start_node("alice")
    edit(link, "bob", '"bob.crt"\nkey = "bob.key"', '"foreign/bob.crt"\nkey = "foreign/bob.key"')
    link.start_node("bob")
    try:
        link.wait_for("bob", lambda e: e.get("event") == "line" and "certificate" in e["why"], 60)
        assert not link.blocks("alice")
        link.kill("bob")
        link.configure("bob", "alice")
        link.start_node("bob")
        link.wait_for("bob", lambda e: e.get("event") == "block", 60)
        assert "Traceback" not in link.said("alice")
    finally:
        link.stop()


def test_noise_on_the_line_gets_none_and_the_true_peer_still_does(link: LiveLink) -> None:
    """No TLS, half a greeting of it, and TLS without a certificate: refused; Alice goes on listening."""
    link.start_source()
    link.start_node("alice")
    try:
        link.wait_for("alice", lambda e: e.get("event") == "ready", 60)
        where = ("127.0.0.1", link.ports["line"])
        silent = socket.create_connection(where)
        for noise in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 4, b"\x16\x03\x01\x02\x00\x01", os.urandom(4096)):
            with socket.create_connection(where) as stranger:
                stranger.sendall(noise)
        nobody = ssl.create_default_context(cafile=link.folder / "ca.crt")
        nobody.check_hostname = False
        with (
            socket.create_connection(where) as stranger,
            contextlib.suppress(ssl.SSLError, ConnectionError),
            nobody.wrap_socket(stranger) as tls,
        ):
            tls.sendall(bytes(4))
            assert tls.recv(1) == b""
        link.start_node("bob")
        link.wait_for("bob", lambda e: e.get("event") == "block", 60)
        assert "Traceback" not in link.said("alice")
        silent.close()
    finally:
        link.stop()


def test_an_application_of_another_name_gets_no_key(link: LiveLink) -> None:
    """A valid certificate of the wrong kind or name is turned away at the line and at the key API."""
    authority = Authority.load(link.folder)
    authority.issue(PeerKind.SAE, "stranger")
    link.start_source()
    link.start_node("alice")
    link.start_node("bob")
    try:
        link.wait_for("bob", lambda e: e.get("event") == "block", 60)
        url = f"https://127.0.0.1:{link.ports['alice']}"
        common = ["--url", url, "--ca", "ca.crt", "--out", "keys"]
        stranger = qkd(
            "keys", "enc", SAE["bob"], "--cert", "stranger.crt", "--key", "stranger.key", *common, cwd=link.folder
        )
        assert_refused(stranger, 4)
        good = qkd("keys", "enc", SAE["bob"], "--cert", "sae-a.crt", "--key", "sae-a.key", *common, cwd=link.folder)
        assert good.returncode == 0, good.stderr
        (key_file,) = (link.folder / "keys").iterdir()
        assert key_file.stat().st_mode & 0o777 == 0o600
        assert key_file.read_bytes().hex() not in good.stdout + good.stderr
    finally:
        link.stop()


def test_a_tagger_that_comes_back_is_used_again(link: LiveLink) -> None:
    """The source is killed and started anew, its clocks with it: the stations find it and the clock, and go on."""
    link.start_source()
    link.start_node("alice")
    link.start_node("bob")
    try:
        link.wait_for("bob", lambda e: e.get("event") == "block", 60)
        link.kill("source")
        # Whoever notices first hangs up; the other one may only see the line go down.
        for role in ("alice", "bob"):
            link.wait_for(
                role,
                lambda e: e.get("reason") == "FeedError" or (e.get("event"), e.get("state")) == ("line", "down"),
                60,
            )
        last = max(b["block"] for role in ("alice", "bob") for b in link.blocks(role))
        link.events["source"].clear()
        link.start_source()
        for role in ("alice", "bob"):
            link.wait_for(role, lambda e: e.get("event") == "block" and e["block"] > last, 60)
            assert "Traceback" not in link.said(role)
    finally:
        link.stop()
