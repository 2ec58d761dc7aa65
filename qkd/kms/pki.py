"""A small certificate authority, and TLS contexts that demand certificates on both sides.

A KME certificate may serve and call, an SAE certificate may only call, so an application cannot pose as a key manager;
`qkd.kms.certificates` says how a certificate names its holder. For production use your own CA: anything that signs
such a URI will do. EC P-256 with SHA-256 throughout (RFC 5280; ETSI GS QKD 014 clause 5.1 asks for TLS 1.2 or newer
with certificates on both sides).
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from qkd.errors import ParameterError
from qkd.kms.certificates import (
    CertificateInfo,
    PeerIdentity,
    PeerKind,
    check_identifier,
    describe,
    identity,
    is_authority,
    load_certificate,
    load_pair,
)
from qkd.kms.secretfile import write_secret_file

__all__ = [
    "Authority",
    "CertificateInfo",
    "Issued",
    "PeerIdentity",
    "PeerKind",
    "check_identifier",
    "client_context",
    "describe",
    "identity",
    "server_context",
]

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")
_CLOCK_SLACK = dt.timedelta(minutes=5)
MOST_DAYS = 36500

# For peers without TLS 1.3: forward secrecy and authenticated encryption only.
_TLS12_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


@dataclass(frozen=True, slots=True)
class Issued:
    """Where a new certificate and its key lie."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority in a folder: ca.crt for everybody, ca.key for nobody else.

    Made by `Authority.create` or `Authority.load`.
    """

    def __init__(self, folder: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.folder = folder
        self._certificate = certificate
        self._key = key

    @property
    def certificate(self) -> Path:
        """The file that every party needs to check the others."""
        return self.folder / "ca.crt"

    @classmethod
    def create(cls, folder: Path, *, days: float = 3650, force: bool = False) -> Authority:
        """Make a new authority; the folder is made (mode 0700) when it is not there.

        Args:
            folder: where to.
            days: how long the authority is valid.
            force: replace an authority that is there; its certificates are void then.

        Raises:
            ParameterError: there is one already, or the folder is not writable.
        """
        folder = Path(folder)
        certificate_file, key_file = folder / "ca.crt", folder / "ca.key"
        _refuse_existing((certificate_file, key_file), force)
        _make_folder(folder)
        key = ec.generate_private_key(ec.SECP256R1())
        # A part of the key's fingerprint in the name tells two authorities apart in error messages.
        name = _name(f"qkd CA {x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()[:8]}")
        builder = (
            _builder(name, name, key.public_key(), days)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(_authority_id(key.public_key()), critical=False)
        )
        certificate = builder.sign(key, hashes.SHA256())
        write_secret_file(key_file, _key_pem(key), replace=force)
        _write_certificate(certificate_file, certificate)
        return cls(folder, certificate, key)

    @classmethod
    def load(cls, folder: Path) -> Authority:
        """Open an authority that `create` made.

        Raises:
            ParameterError: a file is missing, damaged, readable by others, expired, or no authority's.
        """
        folder = Path(folder)
        certificate, key = load_pair(folder / "ca.crt", folder / "ca.key")
        if not is_authority(certificate) or not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ParameterError(f"{folder / 'ca.crt'} is not an authority's certificate on P-256")
        return cls(folder, certificate, key)

    def issue(
        self,
        kind: PeerKind,
        identifier: str,
        *,
        hosts: tuple[str, ...] = ("localhost", "127.0.0.1"),
        days: float = 365,
        force: bool = False,
    ) -> Issued:
        """Make a key and a certificate for a key manager or an application: <id>.key (0600) and <id>.crt.

        Args:
            kind: KME (may serve and call) or SAE (may call).
            identifier: letters, digits, `.`, `_` and `-`, at most 64; not "ca".
            hosts: DNS names and IP addresses that a KME answers at; an SAE certificate carries none.
            days: how long it is valid; zero or less makes one that has expired.
            force: replace files that are there.

        Raises:
            ParameterError: a bad id, host or period, or the files are there already.
        """
        identity = PeerIdentity(kind, check_identifier(identifier))
        files = Issued(self.folder / f"{identifier}.crt", self.folder / f"{identifier}.key")
        _refuse_existing((files.certificate, files.key), force)
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(identity.uri)]
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if kind is PeerKind.KME:
            names += [_host_name(host) for host in hosts]
            usages.insert(0, ExtendedKeyUsageOID.SERVER_AUTH)
        builder = (
            _builder(_name(identifier), self._certificate.subject, key.public_key(), days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(_authority_id(self._key.public_key()), critical=False)
        )
        certificate = builder.sign(self._key, hashes.SHA256())
        write_secret_file(files.key, _key_pem(key), replace=force)
        _write_certificate(files.certificate, certificate)
        return files


def server_context(cert: Path, key: Path, ca: Path) -> ssl.SSLContext:
    """TLS for a listener: 1.2 or newer, and nobody without a certificate of `ca` gets in.

    Args:
        cert, key: this node's certificate and private key, PEM.
        ca: certificates of the authorities that vouch for the callers, PEM.

    Raises:
        ParameterError: a file is missing, damaged, expired, readable by others, or does not fit the other.
    """
    return _context(ssl.PROTOCOL_TLS_SERVER, cert, key, ca)


def client_context(cert: Path, key: Path, ca: Path, *, check_hostname: bool = True) -> ssl.SSLContext:
    """TLS for a caller, which shows a certificate and demands one.

    Args:
        cert, key, ca: as in `server_context`. check_hostname: False when the server is known by the URI in
        its certificate and not by its address; the
            caller must then check `identity` itself.

    Raises:
        ParameterError: as in `server_context`.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, cert, key, ca)
    context.check_hostname = check_hostname
    return context


def _context(protocol: int, cert: Path, key: Path, ca: Path) -> ssl.SSLContext:
    load_pair(Path(cert), Path(key))
    load_certificate(Path(ca))
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_TLS12_CIPHERS)
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(cert, key)
        context.load_verify_locations(ca)
    except (ssl.SSLError, OSError) as error:
        raise ParameterError(f"OpenSSL refuses {cert}, {key} or {ca}: {error}") from error
    return context


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if len(host) > 253 or not _HOST.fullmatch(host):
        raise ParameterError(f"host {host!r} is neither a DNS name nor an IP address")
    return x509.DNSName(host)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: float
) -> x509.CertificateBuilder:
    if not -MOST_DAYS <= days <= MOST_DAYS:
        raise ParameterError(f"days = {days} must be in -{MOST_DAYS} .. {MOST_DAYS}")
    now = dt.datetime.now(dt.UTC)
    until = now + dt.timedelta(days=days)
    # A peer's clock may be a little behind ours; and a certificate must begin before it ends.
    start = min(now, until - dt.timedelta(days=1)) if days <= 0 else now - _CLOCK_SLACK
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_id(public: ec.EllipticCurvePublicKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(public)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_certificate(path: Path, certificate: x509.Certificate) -> None:
    try:
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    except OSError as error:
        raise ParameterError(f"{path}: {(error.strerror or str(error)).lower()}") from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ParameterError(f"{folder}: {(error.strerror or str(error)).lower()}") from error


def _refuse_existing(files: tuple[Path, ...], force: bool) -> None:
    there = [str(file) for file in files if file.exists()]
    if there and not force:
        raise ParameterError(f"{' and '.join(there)} exists already", hint="--force replaces it")
