"""Who is who on the key managers' lines: a small certificate authority, and TLS that demands certificates.

A key manager is `urn:qkd:kme:<id>`, an application `urn:qkd:sae:<id>`; that URI, in the certificate's subject
alternative names, is the identity that everything else goes by. A KME certificate may serve and call, an SAE
certificate may only call, so an application cannot pose as a key manager. For production use your own CA:
anything that signs such a URI will do. EC P-256 with SHA-256 throughout (RFC 5280; ETSI GS QKD 014 clause 5.1
asks for TLS 1.2 or newer with certificates on both sides).
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
import ssl
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from qkd.errors import NotAuthorised, ParameterError
from qkd.kms.secretfile import check_private, write_secret_file

_IDENTIFIER = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")
_URN = "urn:qkd:"
_CLOCK_SLACK = dt.timedelta(minutes=5)
MOST_DAYS = 36500

# For peers without TLS 1.3: forward secrecy and authenticated encryption only.
_TLS12_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


class PeerKind(Enum):
    """What a certificate's holder is."""

    KME = "kme"
    SAE = "sae"


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """Who holds a certificate: the kind and the id of its URI."""

    kind: PeerKind
    id: str

    @property
    def uri(self) -> str:
        """The URI in the certificate."""
        return f"{_URN}{self.kind.value}:{self.id}"


@dataclass(frozen=True, slots=True)
class Issued:
    """Where a new certificate and its key lie."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class CertificateInfo:
    """What `qkd pki show` tells; `kind` is "kme", "sae" or "ca", times are UTC."""

    kind: str
    id: str
    hosts: tuple[str, ...]
    issuer: str
    fingerprint_sha256: str
    not_before: dt.datetime
    not_after: dt.datetime


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
        certificate, key = _load_pair(folder / "ca.crt", folder / "ca.key")
        if not _is_authority(certificate) or not isinstance(key, ec.EllipticCurvePrivateKey):
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


def check_identifier(identifier: str) -> str:
    """The id of a KME or SAE, when it is one that fits a URI, a file name and a certificate.

    Raises:
        ParameterError: it is not.
    """
    if not _IDENTIFIER.fullmatch(identifier) or identifier.lower() == "ca" or not identifier.strip("."):
        raise ParameterError(
            f'id {identifier!r} must be 1 to 64 of A-Z a-z 0-9 . _ - (and neither dots alone nor "ca")'
        )
    return identifier


def identity(cert_der: bytes) -> PeerIdentity:
    """Who the holder of a verified certificate is.

    Args:
        cert_der: the peer's certificate as TLS gives it (DER); that it is genuine and in date is TLS's
        business.

    Raises:
        NotAuthorised: it cannot be read, or does not carry exactly one urn:qkd: URI of a known kind.
    """
    try:
        return _identity(x509.load_der_x509_certificate(cert_der))
    except ValueError as error:
        raise NotAuthorised("the peer's certificate cannot be read") from error


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


def describe(path: Path) -> CertificateInfo:
    """What a certificate file says; expired ones, too.

    Raises:
        ParameterError: it cannot be read, or is neither a KME's, an SAE's nor an authority's.
    """
    certificate = _load_certificate(Path(path))
    if _is_authority(certificate):
        kind, name = "ca", _common_name(certificate.subject)
    else:
        try:
            holder = _identity(certificate)
        except NotAuthorised as error:
            raise ParameterError(f"{path}: {error}") from error
        kind, name = holder.kind.value, holder.id
    return CertificateInfo(
        kind=kind,
        id=name,
        hosts=_hosts(certificate),
        issuer=_common_name(certificate.issuer),
        fingerprint_sha256=certificate.fingerprint(hashes.SHA256()).hex(),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def _context(protocol: int, cert: Path, key: Path, ca: Path) -> ssl.SSLContext:
    _load_pair(Path(cert), Path(key))
    _load_certificate(Path(ca))
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


def _load_pair(cert: Path, key: Path) -> tuple[x509.Certificate, object]:
    """A certificate in date and the private key that belongs to it."""
    certificate = _load_certificate(cert)
    now = dt.datetime.now(dt.UTC)
    if now > certificate.not_valid_after_utc:
        raise ParameterError(
            f"{cert} expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
            hint="issue a new one: qkd pki issue --force",
        )
    if now < certificate.not_valid_before_utc:
        raise ParameterError(
            f"{cert} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC",
            hint="check this machine's clock",
        )
    check_private(key)
    pem = _read(key)
    try:
        private = serialization.load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise ParameterError(
            f"{key} is encrypted: a node starts unattended and needs it in the clear"
        ) from error
    except ValueError as error:
        raise ParameterError(
            f"{key} holds no private key in PEM form", hint="was it swapped with the .crt?"
        ) from error
    if private.public_key() != certificate.public_key():
        raise ParameterError(f"{key} is not the key of {cert}", hint="name the .key and .crt of the same id")
    return certificate, private


def _load_certificate(path: Path) -> x509.Certificate:
    pem = _read(path)  # not inside the try: a ParameterError is a ValueError, too
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise ParameterError(f"{path} holds no certificate in PEM form", hint="name a .crt file") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ParameterError(
            f"{path}: {(error.strerror or str(error)).lower()}",
            hint="make certificates with: qkd pki init DIR, then qkd pki issue DIR",
        ) from error


def _identity(certificate: x509.Certificate) -> PeerIdentity:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = [u for u in names.get_values_for_type(x509.UniformResourceIdentifier) if u.startswith(_URN)]
    except x509.ExtensionNotFound:
        uris = []
    if len(uris) != 1:
        raise NotAuthorised(f"the certificate carries {len(uris)} {_URN} URIs, it must carry exactly one")
    kind, _, name = uris[0].removeprefix(_URN).partition(":")
    try:
        return PeerIdentity(PeerKind(kind), check_identifier(name))
    except ValueError as error:
        raise NotAuthorised(f"the certificate's URI {uris[0]!r} names no KME and no SAE") from error


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _hosts(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = names.get_values_for_type(x509.IPAddress)
    return (*names.get_values_for_type(x509.DNSName), *(str(address) for address in addresses))


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


def _common_name(name: x509.Name) -> str:
    values = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(values[0].value) if values else name.rfc4514_string()


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
