"""Certificates: who may serve, who may call, who is refused; handshakes run over memory, without sockets."""

import datetime as dt
import json
import shutil
import ssl
import stat
import subprocess

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cli.main import main
from qkd.errors import NotAuthorised, ParameterError
from qkd.kms.pki import (
    Authority,
    Issued,
    PeerIdentity,
    PeerKind,
    check_identifier,
    client_context,
    describe,
    identity,
    server_context,
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority.create(tmp_path_factory.mktemp("pki") / "ours")


@pytest.fixture(scope="module")
def kme(authority):
    return authority.issue(PeerKind.KME, "kme-alice")


@pytest.fixture(scope="module")
def sae(authority):
    return authority.issue(PeerKind.SAE, "app.1")


@pytest.fixture(scope="module")
def expired(authority):
    return authority.issue(PeerKind.SAE, "expired", days=-1)


def server(authority: Authority, who: Issued) -> ssl.SSLContext:
    return server_context(who.certificate, who.key, authority.certificate)


def client(authority: Authority, who: Issued, **options: bool) -> ssl.SSLContext:
    return client_context(who.certificate, who.key, authority.certificate, **options)


def bare_client(authority: Authority, who: Issued | None = None) -> ssl.SSLContext:
    """A caller that does not go through our checks, as an attacker's would not."""
    context = ssl.create_default_context(cafile=authority.certificate)
    if who is not None:
        context.load_cert_chain(who.certificate, who.key)
    return context


def shake_hands(at_server: ssl.SSLContext, at_client: ssl.SSLContext, host: str = "localhost") -> list[ssl.SSLObject]:
    """Both ends of a connection after the handshake and a byte each way; raises what either end refuses with."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        at_server.wrap_bio(to_server, to_client, server_side=True),
        at_client.wrap_bio(to_client, to_server, server_hostname=host),
    ]
    # In TLS 1.3 the client is done before the server has looked at its certificate: only data prove acceptance.
    for action in (lambda end: end.do_handshake(), lambda end: end.write(b"x"), lambda end: end.read(1)):
        waiting = list(ends)
        for _ in range(10):
            for end in list(waiting):
                try:
                    action(end)
                    waiting.remove(end)
                except ssl.SSLWantReadError:
                    pass
        assert not waiting
    return ends


class TestHandshake:
    def test_each_knows_the_other(self, authority, kme, sae):
        at_server, at_client = shake_hands(server(authority, kme), client(authority, sae))
        assert identity(at_server.getpeercert(True)) == PeerIdentity(PeerKind.SAE, "app.1")
        assert identity(at_client.getpeercert(True)) == PeerIdentity(PeerKind.KME, "kme-alice")
        assert at_server.version() == "TLSv1.3"

    def test_two_kmes(self, authority, kme):
        bob = authority.issue(PeerKind.KME, "kme-bob", hosts=("bob.example.org", "::1"))
        at_server, _ = shake_hands(server(authority, bob), client(authority, kme), "bob.example.org")
        assert identity(at_server.getpeercert(True)).uri == "urn:qkd:kme:kme-alice"
        shake_hands(server(authority, bob), client(authority, kme), "::1")

    def test_tls_1_2_only_with_forward_secrecy(self, authority, kme, sae):
        caller = client(authority, sae)
        caller.maximum_version = ssl.TLSVersion.TLSv1_2
        at_server, _ = shake_hands(server(authority, kme), caller)
        assert at_server.version() == "TLSv1.2"
        assert at_server.cipher()[0].startswith("ECDHE-ECDSA-")
        caller = bare_client(authority, sae)
        caller.maximum_version = ssl.TLSVersion.TLSv1_2
        caller.set_ciphers("ECDHE-ECDSA-AES128-SHA256")
        with pytest.raises(ssl.SSLError):
            shake_hands(server(authority, kme), caller)
        for context in (server(authority, kme), client(authority, sae)):
            assert context.minimum_version is ssl.TLSVersion.TLSv1_2

    def test_caller_without_certificate(self, authority, kme):
        with pytest.raises(ssl.SSLError, match="did not return a certificate"):
            shake_hands(server(authority, kme), bare_client(authority))

    def test_foreign_authority(self, authority, kme, tmp_path):
        foreign = Authority.create(tmp_path / "foreign")
        stranger = foreign.issue(PeerKind.SAE, "app.1")
        with pytest.raises(ssl.SSLError, match="certificate verify failed"):
            shake_hands(server(authority, kme), bare_client(authority, stranger))
        with pytest.raises(ssl.SSLCertVerificationError):
            shake_hands(server(authority, kme), client(foreign, stranger))

    def test_expired_caller(self, authority, kme, expired):
        with pytest.raises(ssl.SSLError, match="certificate verify failed"):
            shake_hands(server(authority, kme), bare_client(authority, expired))

    def test_application_cannot_serve(self, authority, kme, sae):
        caller = client(authority, kme, check_hostname=False)
        with pytest.raises(ssl.SSLCertVerificationError, match=r"purpose|unsuitable"):
            shake_hands(server(authority, sae), caller)

    def test_kme_cannot_sign(self, authority, kme, tmp_path):
        """A certificate made with a KME's key, with that KME's certificate to vouch for it."""
        key = serialization.load_pem_private_key(kme.key.read_bytes(), None)
        vouching = x509.load_pem_x509_certificate(kme.certificate.read_bytes())
        own = ec.generate_private_key(ec.SECP256R1())
        uri = x509.UniformResourceIdentifier("urn:qkd:sae:app.1")
        forged = _sign(own.public_key(), vouching.subject, key, [uri])
        chain = tmp_path / "chain.pem"
        chain.write_bytes(forged.public_bytes(serialization.Encoding.PEM) + kme.certificate.read_bytes())
        (tmp_path / "own.key").write_bytes(_pem(own))
        with pytest.raises(ssl.SSLError, match="certificate verify failed"):
            shake_hands(server(authority, kme), bare_client(authority, Issued(chain, tmp_path / "own.key")))

    def test_host_is_checked_on_request(self, authority, kme, sae):
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            shake_hands(server(authority, kme), client(authority, sae), "elsewhere.example.org")
        shake_hands(server(authority, kme), client(authority, sae, check_hostname=False), "elsewhere.example.org")
        shake_hands(server(authority, kme), client(authority, sae), "127.0.0.1")


class TestIdentity:
    @pytest.mark.parametrize(
        "uris",
        [
            (),
            ("https://example.org",),
            ("urn:qkd:kme:a", "urn:qkd:sae:a"),
            ("urn:qkd:sae:a", "urn:qkd:sae:b"),
            ("urn:qkd:kms:a",),
            ("urn:qkd:sae:",),
            ("urn:qkd:sae:a/b",),
            ("urn:qkd:sae:a:b",),
            ("urn:qkd:sae:" + "a" * 65,),
            ("URN:QKD:SAE:a",),
        ],
    )
    def test_refused(self, uris):
        with pytest.raises(NotAuthorised):
            identity(_certificate(uris))

    def test_other_uris_do_not_matter(self):
        assert identity(_certificate(("https://example.org", "urn:qkd:sae:a"))) == PeerIdentity(PeerKind.SAE, "a")

    def test_common_name_does_not_matter(self):
        with pytest.raises(NotAuthorised):
            identity(_certificate((), common_name="urn:qkd:sae:a"))

    @pytest.mark.parametrize("junk", [b"", b"junk", bytes(1000)])
    def test_junk(self, junk):
        with pytest.raises(NotAuthorised):
            identity(junk)

    @pytest.mark.parametrize("good", ["a", "A-1_b.c", "a" * 64, "..a"])
    def test_good_ids(self, good):
        assert check_identifier(good) == good

    @pytest.mark.parametrize("bad", ["", "a" * 65, "a b", "a/b", "../a", "ä", "a\n", "ca", "CA", ".", ".."])
    def test_bad_ids(self, authority, bad):
        with pytest.raises(ParameterError):
            authority.issue(PeerKind.SAE, bad)


class TestFiles:
    def test_modes(self, authority, kme):
        for key in (kme.key, authority.folder / "ca.key"):
            assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert stat.S_IMODE(authority.folder.stat().st_mode) == 0o700

    def test_never_overwrites_unasked(self, tmp_path):
        authority = Authority.create(tmp_path)
        files = authority.issue(PeerKind.KME, "a")
        before = {f: f.read_bytes() for f in tmp_path.iterdir()}
        with pytest.raises(ParameterError, match="exists already"):
            Authority.create(tmp_path)
        with pytest.raises(ParameterError, match="exists already"):
            authority.issue(PeerKind.SAE, "a")
        assert {f: f.read_bytes() for f in tmp_path.iterdir()} == before
        authority.issue(PeerKind.KME, "a", force=True)
        assert files.key.read_bytes() != before[files.key]
        server(authority, files)
        Authority.create(tmp_path, force=True)
        assert (tmp_path / "ca.crt").read_bytes() != before[tmp_path / "ca.crt"]

    def test_loaded_authority_issues(self, authority, kme):
        again = Authority.load(authority.folder).issue(PeerKind.SAE, "later")
        shake_hands(server(authority, kme), client(authority, again))

    def test_only_an_authority_loads_as_one(self, authority, kme, tmp_path):
        shutil.copy(kme.certificate, tmp_path / "ca.crt")
        shutil.copy(kme.key, tmp_path / "ca.key")
        with pytest.raises(ParameterError, match="not an authority"):
            Authority.load(tmp_path)

    @pytest.mark.parametrize("host", ["", "a b", "-a", "*.example.org", "a..b", "a" * 254, "http://a"])
    def test_bad_hosts(self, authority, host):
        with pytest.raises(ParameterError):
            authority.issue(PeerKind.KME, "hosts", hosts=(host,))
        assert not (authority.folder / "hosts.key").exists()

    def test_bad_period(self, authority):
        with pytest.raises(ParameterError, match="days"):
            authority.issue(PeerKind.KME, "period", days=1e9)

    def test_own_certificate_expired(self, authority, expired):
        day = describe(expired.certificate).not_after
        with pytest.raises(ParameterError, match=f"expired on {day:%Y-%m-%d}"):
            client(authority, expired)

    def test_own_certificate_from_the_future(self, authority, tmp_path):
        key = ec.generate_private_key(ec.SECP256R1())
        start = dt.datetime.now(dt.UTC) + dt.timedelta(days=3)
        certificate = _sign(key.public_key(), x509.Name([]), key, [], start=start)
        (tmp_path / "a.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        with pytest.raises(ParameterError, match="not valid before") as early:
            server_context(tmp_path / "a.crt", tmp_path / "a.key", authority.certificate)
        assert "clock" in early.value.hint

    def test_what_does_not_load(self, authority, kme, sae, tmp_path):
        ca, junk, encrypted, public = authority.certificate, tmp_path / "j", tmp_path / "e.key", tmp_path / "p.key"
        junk.write_bytes(b"junk")
        junk.chmod(0o600)
        key = serialization.load_pem_private_key(kme.key.read_bytes(), None)
        encrypted.write_bytes(_pem(key, serialization.BestAvailableEncryption(b"word")))
        encrypted.chmod(0o600)
        shutil.copy(kme.key, public)
        public.chmod(0o644)
        for cert, private, trusted, message in (
            (tmp_path / "none.crt", kme.key, ca, "none.crt: no such file"),
            (kme.certificate, tmp_path / "none.key", ca, "none.key: no such file"),
            (kme.certificate, kme.key, tmp_path / "none", "none: no such file"),
            (junk, kme.key, ca, "holds no certificate"),
            (kme.certificate, junk, ca, "holds no private key"),
            (kme.certificate, kme.key, junk, "holds no certificate"),
            (kme.certificate, sae.key, ca, "is not the key of"),
            (kme.certificate, encrypted, ca, "is encrypted"),
            (kme.certificate, public, ca, "mode 0644"),
        ):
            for make in (server_context, client_context):
                with pytest.raises(ParameterError, match=message) as refused:
                    make(cert, private, trusted)
                assert "PRIVATE" not in str(refused.value)

    def test_openssl_agrees(self, authority, kme, sae):
        """The openssl program, strict about RFC 5280, on purposes and names."""
        openssl = shutil.which("openssl")
        if openssl is None:
            pytest.skip("no openssl program on this machine")

        def verify(purpose: str, file: Issued) -> int:
            command = [openssl, "verify", "-x509_strict", "-purpose", purpose, "-CAfile", authority.certificate]
            return subprocess.run([*command, file.certificate], capture_output=True).returncode

        assert [verify(p, kme) for p in ("sslserver", "sslclient")] == [0, 0]
        assert verify("sslclient", sae) == 0
        assert verify("sslserver", sae) != 0
        text = subprocess.run(
            [openssl, "x509", "-noout", "-ext", "subjectAltName", "-in", kme.certificate],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert "URI:urn:qkd:kme:kme-alice, DNS:localhost, IP Address:127.0.0.1" in text


class TestCommand:
    def run(self, *words: object, code: int = 0) -> tuple[str, str]:
        result = CliRunner().invoke(main, ["pki", *map(str, words)])
        assert result.exit_code == code, result.output
        return result.stdout, result.stderr

    def test_from_nothing_to_a_connection(self, tmp_path):
        folder = tmp_path / "pki"
        out, note = self.run("init", folder)
        assert out.split() == [str(folder / "ca.crt")]
        assert "ca.key offline" in note
        self.run("issue", folder, "--kme", "alice", "--host", "alice.example.org", "--days", 30)
        out, _ = self.run("issue", folder, "--sae", "app")
        assert out.split() == [str(folder / "app.crt"), str(folder / "app.key")]
        authority = Authority.load(folder)
        kme, sae = (Issued(folder / f"{name}.crt", folder / f"{name}.key") for name in ("alice", "app"))
        for host in ("alice.example.org", "localhost"):
            shake_hands(server(authority, kme), client(authority, sae), host)

        out, _ = self.run("show", folder / "alice.crt", "--json")
        shown = json.loads(out)
        assert (shown["schema"], shown["kind"], shown["id"]) == ("qkd.pki.show.v1", "kme", "alice")
        assert shown["hosts"] == ["alice.example.org", "localhost", "127.0.0.1"]
        period = dt.datetime.fromisoformat(shown["not_after"]) - dt.datetime.now(dt.UTC)
        assert dt.timedelta(days=29.9) < period < dt.timedelta(days=30)
        plain, _ = self.run("show", folder / "alice.crt")
        assert shown["fingerprint_sha256"] in plain
        assert json.loads(self.run("show", folder / "ca.crt", "--json")[0])["kind"] == "ca"

    def test_usage(self, tmp_path):
        self.run("init", tmp_path)
        _, err = self.run("init", tmp_path, code=2)
        assert "hint: --force" in err
        self.run("issue", tmp_path, code=2)
        self.run("issue", tmp_path, "--kme", "a", "--sae", "b", code=2)
        self.run("issue", tmp_path, "--sae", "b", "--host", "h", code=2)
        self.run("issue", tmp_path / "nowhere", "--sae", "b", code=2)
        self.run("show", tmp_path / "ca.key", code=2)

    def test_psk(self, tmp_path):
        file = tmp_path / "psk"
        out, err = self.run("psk", "--out", file)
        secret = file.read_bytes()
        assert len(secret) == 16384
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert out == f"{file}\n"
        assert secret[:8].hex() not in out + err
        self.run("psk", "--out", file, code=2)
        assert file.read_bytes() == secret
        self.run("psk", "--out", tmp_path / "short", "--bytes", 32)
        assert (tmp_path / "short").stat().st_size == 32


def _pem(
    key: ec.EllipticCurvePrivateKey,
    encryption: serialization.KeySerializationEncryption | None = None,
) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        encryption or serialization.NoEncryption(),
    )


def _sign(public, issuer, key, names, *, subject=None, start=None) -> x509.Certificate:
    start = start or dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject or x509.Name([]))
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=1))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256())


def _certificate(uris: tuple[str, ...], common_name: str = "somebody") -> bytes:
    """A certificate with these URIs, DER, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    names = [x509.UniformResourceIdentifier(uri) for uri in uris]
    return _sign(key.public_key(), name, key, names, subject=name).public_bytes(serialization.Encoding.DER)
