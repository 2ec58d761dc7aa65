"""What a certificate says: who holds it, until when; and whether a node's own files fit together.

A key manager is `urn:qkd:kme:<id>`, an application `urn:qkd:sae:<id>`; that URI, in the certificate's subject
alternative names, is the identity that everything else goes by. Names and common names beside it carry no weight.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from qkd.errors import NotAuthorised, ParameterError
from qkd.kms.secretfile import check_private

_IDENTIFIER = re.compile(r"[A-Za-z0-9._-]{1,64}")
_URN = "urn:qkd:"


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
class CertificateInfo:
    """What `qkd pki show` tells; `kind` is "kme", "sae" or "ca", times are UTC."""

    kind: str
    id: str
    hosts: tuple[str, ...]
    issuer: str
    fingerprint_sha256: str
    not_before: dt.datetime
    not_after: dt.datetime


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


def describe(path: Path) -> CertificateInfo:
    """What a certificate file says; expired ones, too.

    Raises:
        ParameterError: it cannot be read, or is neither a KME's, an SAE's nor an authority's.
    """
    certificate = load_certificate(Path(path))
    if is_authority(certificate):
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


def load_pair(cert: Path, key: Path) -> tuple[x509.Certificate, object]:
    """A certificate in date and the private key that belongs to it, from PEM files.

    Raises:
        ParameterError: a file is missing or damaged, the certificate is out of date, or the key is encrypted, readable
            by others or another's.
    """
    certificate = load_certificate(cert)
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
        raise ParameterError(f"{key} is encrypted: a node starts unattended and needs it in the clear") from error
    except ValueError as error:
        raise ParameterError(f"{key} holds no private key in PEM form", hint="was it swapped with the .crt?") from error
    if private.public_key() != certificate.public_key():
        raise ParameterError(f"{key} is not the key of {cert}", hint="name the .key and .crt of the same id")
    return certificate, private


def load_certificate(path: Path) -> x509.Certificate:
    """A certificate from a PEM file, whatever its date.

    Raises:
        ParameterError: missing, or not a certificate.
    """
    pem = _read(path)  # not inside the try: a ParameterError is a ValueError, too
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise ParameterError(f"{path} holds no certificate in PEM form", hint="name a .crt file") from error


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether its holder may sign certificates."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _common_name(name: x509.Name) -> str:
    values = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(values[0].value) if values else name.rfc4514_string()


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


def _hosts(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = names.get_values_for_type(x509.IPAddress)
    return (*names.get_values_for_type(x509.DNSName), *(str(address) for address in addresses))
