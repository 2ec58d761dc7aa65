"""How a link begins without a pre-shared file: its first authentication keys from ML-KEM-1024, signed with ML-DSA-87.

    B > A   BootstrapHello       who I am, whom I expect, what I hold, nonce
    A > B   BootstrapHello       the same; from both it follows whether there is anything to do
    A > B   BootstrapKey         ek, a fresh ML-KEM-1024 encapsulation key
    B > A   BootstrapCiphertext  c, with (ss, c) = Encaps(ek)
    B > A   BootstrapProof       signature and key confirmation of Bob
    A > B   BootstrapProof       of Alice, sent when her store holds the keys; Bob's store takes them when it verifies

    h            = SHA-512(transcript up to c)
    K(label, n)  = HKDF-SHA512(ikm = ss, salt = DOMAIN, info = SUITE || label || h, n bytes)         RFC 5869
    statement    = DOMAIN || SUITE || version (2) || sender "A"/"B" || length (8) || transcript so far
    signature    = ML-DSA-87(own key, statement, context = DOMAIN)                                   FIPS 204
    confirmation = HMAC-SHA512(K("confirm A" or "confirm B", 64), statement)
    secret       = K("secret", 8192), dealt out as a pre-shared file would be
    link id      = SHA-256(DOMAIN || "link" || h), public

Why this is safe. It is SIGMA (Krawczyk, "SIGMA: the 'SIGn-and-MAc' approach to authenticated Diffie-Hellman",
CRYPTO 2003) with the KEM in the place of Diffie-Hellman: each side signs the fresh values of both, and proves by a MAC
under the new key that it knows that key and to whom it talks.

* Each signature covers every byte said so far: both nonces, ek and c, so nothing of an older run fits (replay), and
  both hellos with the protocol version and the session parameters, so neither is bargained down; there is one suite.
* The sender's letter stands in the statement and in the label of its MAC key, and an identity refuses to be its own
  peer: nothing that a side said can be sent back to it (reflection).
* Both hellos name both public keys, and the MAC covers them: who ends with the same key agrees on who the two are
  (no unknown key share). A side that expects another peer says so before anything is made.
* Nothing is installed before the peer's signature and MAC are verified, by Alice and then by Bob. If her last message
  is lost, she holds keys that he does not; the next hellos show it, and the exchange is run anew and replaces them.
  That is allowed until the first block is committed, at either side, and never after: until then these keys have
  protected nothing that still counts.

What it costs in assumptions. The keys are as secret as ML-KEM-1024 and as genuine as ML-DSA-87, and only for the time
until the first block is committed must both hold: a tag that verified in time cannot be forged afterwards, and quantum
key authenticated by it stays secret even when either is broken later (everlasting secrecy: Mosca, Stebila and
Ustaoglu, PQCrypto 2013, arXiv 1206.6150). But a hash key is kept for life, and whoever learns it later, by breaking
ML-KEM on a recorded conversation, could turn any tag that he sees into one of his own. So the first block pays for new
hash keys and pads, and the commit of that block destroys all that came from here (`qkd.block.Beginning`).

Randomness: nonces and the seed of ek from `SecretBits`; the encapsulation and the signatures draw their own from the
operating system, within the library, which lets nobody else supply it.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM1024PrivateKey, MLKEM1024PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from qkd import __version__
from qkd.bits import same
from qkd.block import Vault
from qkd.errors import AuthenticationError, RemoteProtocolError
from qkd.exchange.handshake import check_agreement
from qkd.exchange.identity import FINGERPRINT_BYTES, Identity, lacking
from qkd.exchange.messages import (
    PROTOCOL_VERSION,
    BootstrapCiphertext,
    BootstrapHello,
    BootstrapKey,
    BootstrapProof,
    Hello,
)
from qkd.exchange.steps import Role, Steps, receive, send
from qkd.exchange.transcript import Transcript
from qkd.randomness import SecretBits
from qkd.session import SessionParameters

DOMAIN = b"entangled-qkd bootstrap"
SUITE = b"ML-KEM-1024 ML-DSA-87 HKDF-SHA512"
NONCE_BYTES = 32
LINK_ID_BYTES = 32
KEM_SEED_BYTES = 64
CONFIRMATION_BYTES = 64
# 2 hash keys and 255 pads a side: enough for 127 rounds, of which one has to succeed.
SECRET_BYTES = 8192

_LETTER = {Role.ALICE: b"A", Role.BOB: b"B"}


class _Keys:
    """What both derive from the shared secret, and the proofs made with it."""

    def __init__(self, shared: bytes, transcript: Transcript) -> None:
        self._shared = shared
        self._context = hashlib.sha512(transcript.recorded()).digest()

    @property
    def link_id(self) -> bytes:
        return hashlib.sha256(DOMAIN + b"link" + self._context).digest()

    @property
    def secret(self) -> bytes:
        return self._derive(b"secret", SECRET_BYTES)

    def confirmation(self, sender: Role, statement: bytes) -> bytes:
        key = self._derive(b"confirm " + _LETTER[sender], CONFIRMATION_BYTES)
        return hmac.digest(key, statement, "sha512")

    def _derive(self, label: bytes, count: int) -> bytes:
        info = SUITE + label + self._context
        return HKDF(hashes.SHA512(), count, DOMAIN, info).derive(self._shared)


def alice(
    identity: Identity, params: SessionParameters, vault: Vault, secrets: SecretBits, transcript: Transcript
) -> Steps[bool]:
    """Alice's part; True when new keys were installed, False when both ends hold the same ones already.

    Args:
        identity: own key and the peer's.
        params: of the session; both must have the same.
        vault: where the keys go.
        secrets: source of nonce and KEM key.
        transcript: that of the engine which runs this.

    Raises:
        RemoteProtocolError: the two ends do not fit together. AuthenticationError: the peer is not who it should be.
        ParameterError: the installed `cryptography` lacks an algorithm.
    """
    due = yield from meet_alice(identity, params, vault, secrets)
    if due:
        yield from exchange_alice(identity, vault, secrets, transcript)
    return due


def bob(
    identity: Identity, params: SessionParameters, vault: Vault, secrets: SecretBits, transcript: Transcript
) -> Steps[bool]:
    """Bob's part; the same arguments, result and errors."""
    due = yield from meet_bob(identity, params, vault, secrets)
    if due:
        yield from exchange_bob(identity, vault, secrets, transcript)
    return due


def meet_alice(identity: Identity, params: SessionParameters, vault: Vault, secrets: SecretBits) -> Steps[bool]:
    """The hellos, at Alice; whether the exchange is due.

    Whoever runs this apart from the exchange can tell a configuration that does not fit (this raises) from somebody on
    the line (that does); both run on one transcript.
    """
    received = yield from receive(BootstrapHello, Hello)
    if isinstance(received, Hello):
        raise RemoteProtocolError(
            "the peer begins the link with a pre-shared file, this side with signing keys",
            hint="both configurations need [bootstrap], or both the same file as store.pre_shared",
        )
    mine = _hello(Role.ALICE, identity, params, vault, secrets)
    yield from send(mine)
    return must_begin(mine, received)


def meet_bob(identity: Identity, params: SessionParameters, vault: Vault, secrets: SecretBits) -> Steps[bool]:
    """The hellos, at Bob; whether the exchange is due."""
    mine = _hello(Role.BOB, identity, params, vault, secrets)
    yield from send(mine)
    return must_begin(mine, (yield from receive(BootstrapHello)))


def exchange_alice(identity: Identity, vault: Vault, secrets: SecretBits, transcript: Transcript) -> Steps[None]:
    """What follows the hellos, at Alice; `transcript` has them."""
    private = _kem_key(secrets.take_bytes(KEM_SEED_BYTES))
    yield from send(BootstrapKey(private.public_key().public_bytes_raw()))
    ciphertext = (yield from receive(BootstrapCiphertext)).ciphertext
    try:
        keys = _Keys(private.decapsulate(ciphertext), transcript)
    except ValueError as error:
        raise RemoteProtocolError(f"a ciphertext of {len(ciphertext)} bytes is none of ML-KEM-1024") from error
    yield from _check_proof(Role.BOB, identity, keys, transcript)
    vault.begin(keys.secret, keys.link_id)
    yield from _prove(Role.ALICE, identity, keys, transcript)


def exchange_bob(identity: Identity, vault: Vault, _secrets: SecretBits, transcript: Transcript) -> Steps[None]:
    """What follows the hellos, at Bob; the library draws the randomness of his part itself."""
    encapsulation_key = (yield from receive(BootstrapKey)).key
    shared, ciphertext = _encapsulate(encapsulation_key)
    yield from send(BootstrapCiphertext(ciphertext))
    keys = _Keys(shared, transcript)
    yield from _prove(Role.BOB, identity, keys, transcript)
    yield from _check_proof(Role.ALICE, identity, keys, transcript)
    vault.begin(keys.secret, keys.link_id)


def must_begin(mine: BootstrapHello, theirs: BootstrapHello) -> bool:
    """Whether the exchange has to be run; both sides find the same, each from both hellos.

    Raises:
        RemoteProtocolError: versions, roles, parameters or pinned keys differ, or the stores are no pair.
    """
    check_agreement(mine, theirs)
    _check_keys(mine, theirs)
    if mine.link_id == theirs.link_id and mine.link_id:
        return False
    if max(mine.committed, theirs.committed) >= 0:
        raise RemoteProtocolError(
            f"here {_stock(mine)}, at the peer {_stock(theirs)}: these key stores are no pair",
            hint="restore the matching stores, or start both ends with new ones: they will begin anew by themselves",
        )
    return True


def _hello(
    role: Role, identity: Identity, params: SessionParameters, vault: Vault, secrets: SecretBits
) -> BootstrapHello:
    return BootstrapHello(
        version=PROTOCOL_VERSION,
        role=role.value,
        software=f"entangled-qkd {__version__}",
        nonce=secrets.take_bytes(NONCE_BYTES),
        parameters=params.to_json(),
        own_key=identity.fingerprint,
        peer_key=identity.peer_fingerprint,
        link_id=vault.link_id,
        committed=vault.committed,
    )


def _check_keys(mine: BootstrapHello, theirs: BootstrapHello) -> None:
    sizes = (len(theirs.nonce), len(theirs.own_key), len(theirs.peer_key))
    if sizes != (NONCE_BYTES, FINGERPRINT_BYTES, FINGERPRINT_BYTES) or len(theirs.link_id) not in (0, LINK_ID_BYTES):
        raise RemoteProtocolError("a nonce, fingerprint or link id has the wrong length")
    if theirs.own_key != mine.peer_key:
        raise RemoteProtocolError(
            f"the peer signs with the key {theirs.own_key.hex()}, expected is {mine.peer_key.hex()}",
            hint="carry the peer's .pub file here anew and name it in [bootstrap]; compare with: qkd pki show FILE.pub",
        )
    if theirs.peer_key != mine.own_key:
        raise RemoteProtocolError(
            f"the peer expects the key {theirs.peer_key.hex()}, this station's is {mine.own_key.hex()}",
            hint="carry this station's .pub file to the peer anew; compare with: qkd pki show FILE.pub",
        )


def _stock(hello: BootstrapHello) -> str:
    keys = f"the keys of link {hello.link_id.hex()[:16]}" if hello.link_id else "no keys"
    blocks = f"blocks up to {hello.committed}" if hello.committed >= 0 else "no block"
    return f"{keys} and {blocks}"


def _statement(sender: Role, transcript: Transcript) -> bytes:
    said = transcript.recorded()
    version = PROTOCOL_VERSION.to_bytes(2, "big")
    return b"".join((DOMAIN, SUITE, version, _LETTER[sender], len(said).to_bytes(8, "big"), said))


def _prove(role: Role, identity: Identity, keys: _Keys, transcript: Transcript) -> Steps[None]:
    statement = _statement(role, transcript)
    yield from send(BootstrapProof(identity.sign(statement, DOMAIN), keys.confirmation(role, statement)))


def _check_proof(peer: Role, identity: Identity, keys: _Keys, transcript: Transcript) -> Steps[None]:
    # Taken now, because the engine records the proof itself before we see it.
    statement = _statement(peer, transcript)
    proof = yield from receive(BootstrapProof)
    identity.check(proof.signature, statement, DOMAIN)
    if not same(proof.confirmation, keys.confirmation(peer, statement)):
        raise AuthenticationError(
            f"{peer.value} signed the exchange but does not hold its key", hint="somebody alters the conversation"
        )


def _kem_key(seed: bytes) -> MLKEM1024PrivateKey:
    try:
        return MLKEM1024PrivateKey.from_seed_bytes(seed)
    except UnsupportedAlgorithm as error:
        raise lacking("ML-KEM-1024") from error


def _encapsulate(encapsulation_key: bytes) -> tuple[bytes, bytes]:
    """Shared secret and ciphertext; the key is checked as FIPS 203, 7.2 asks."""
    try:
        return MLKEM1024PublicKey.from_public_bytes(encapsulation_key).encapsulate()
    except UnsupportedAlgorithm as error:
        raise lacking("ML-KEM-1024") from error
    except ValueError as error:
        raise RemoteProtocolError(f"{len(encapsulation_key)} bytes are no ML-KEM-1024 encapsulation key") from error
