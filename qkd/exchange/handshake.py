"""The first exchange on a line: both say who they are, what they agreed on and where they stand.

Bob speaks first. Nothing that is said here is authenticated yet, so nothing durable follows from it but that Alice
destroys what she merely prepared. A block that Bob prepared and Alice committed is left to `qkd.confirmation.settle`,
which wants a tag for it; one that Alice did not commit stays prepared at Bob until his next block replaces it, because
a forged Hello must not make him destroy what she holds. Both messages open the transcript of the first block, so the
tags of that block cover them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import msgspec

from qkd import __version__
from qkd.block import Beginning, Vault
from qkd.errors import RemoteProtocolError
from qkd.exchange.messages import PROTOCOL_VERSION, BootstrapHello, Hello, printable
from qkd.exchange.steps import Role, Steps, receive, send
from qkd.randomness import SecretBits
from qkd.session import SessionParameters

NONCE_BYTES = 16


@dataclass(frozen=True, slots=True)
class SessionStart:
    """What both know after the handshake.

    Attributes:
        session_id: 16 bytes from both nonces, public.
        next_block: number of the next block.
        simulated: either side's photons come from a simulator.
        software: what Alice and Bob run, as JSON: for the tags of all blocks.
        settles: number of the block that Alice says she committed and Bob has prepared, -1 if there is none.
        beginning: where the link's first keys came from.
    """

    session_id: bytes
    next_block: int
    simulated: bool
    software: bytes = b""
    settles: int = -1
    beginning: Beginning = Beginning.PRE_SHARED

    def renews(self, number: int) -> bool:
        """Whether this block's key replaces all authentication keys; see `Beginning`."""
        return number == 0 and self.beginning.computational


def alice(params: SessionParameters, vault: Vault, secrets: SecretBits, *, simulated: bool) -> Steps[SessionStart]:
    """Alice's part.

    Raises:
        RemoteProtocolError: another version, role or other parameters, or key stores that do not belong together.
    """
    theirs = yield from receive(Hello, BootstrapHello)
    if isinstance(theirs, BootstrapHello):
        raise RemoteProtocolError(
            "the peer begins the link with signing keys, this side with a pre-shared file",
            hint="both configurations need [bootstrap], or both the same file as store.pre_shared",
        )
    mine = _hello(Role.ALICE, params, vault, secrets, simulated)
    yield from send(mine)
    _check(mine, theirs)
    # Bob commits only after Alice did, so what Alice merely prepared exists nowhere else.
    vault.discard()
    return replace(_agree(mine, theirs), beginning=vault.beginning)


def bob(params: SessionParameters, vault: Vault, secrets: SecretBits, *, simulated: bool) -> Steps[SessionStart]:
    """Bob's part; raises the same."""
    mine = _hello(Role.BOB, params, vault, secrets, simulated)
    yield from send(mine)
    theirs = yield from receive(Hello)
    _check(mine, theirs)
    return replace(_agree(theirs, mine), beginning=vault.beginning)


def _hello(role: Role, params: SessionParameters, vault: Vault, secrets: SecretBits, simulated: bool) -> Hello:
    return Hello(
        version=PROTOCOL_VERSION,
        role=role.value,
        software=f"entangled-qkd {__version__}",
        session_nonce=secrets.take_bytes(NONCE_BYTES),
        parameters=params.to_json(),
        committed=vault.committed,
        prepared=vault.prepared,
        simulated=simulated,
    )


def check_agreement(mine: Hello | BootstrapHello, theirs: Hello | BootstrapHello) -> None:
    """Compare what both ends run, and as what.

    Raises:
        RemoteProtocolError: version, roles or parameters do not fit; the text names the difference.
    """
    if theirs.version != mine.version:
        raise RemoteProtocolError(
            f"the peer speaks protocol version {theirs.version} ({printable(theirs.software)}),"
            f" this side {mine.version}",
            hint="install the same release at both ends",
        )
    if theirs.role == mine.role:
        raise RemoteProtocolError(f"both ends are configured as {mine.role}", hint="one must be alice, the other bob")
    if theirs.parameters != mine.parameters:
        raise RemoteProtocolError(f"the two ends disagree on {_differences(mine, theirs)}")


def _check(mine: Hello, theirs: Hello) -> None:
    check_agreement(mine, theirs)
    if len(theirs.session_nonce) != NONCE_BYTES:
        raise RemoteProtocolError(f"a session nonce has {NONCE_BYTES} bytes, not {len(theirs.session_nonce)}")


def _differences(mine: Hello | BootstrapHello, theirs: Hello | BootstrapHello) -> str:
    """Name the parameters that differ, mine first."""
    try:
        other = msgspec.json.decode(theirs.parameters, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "the session parameters (the peer's are unreadable)"
    own = msgspec.json.decode(mine.parameters, type=dict[str, object])
    names = [name for name in sorted(own | other) if own.get(name) != other.get(name)]
    listed = ", ".join(f"{n} (here {own.get(n)!r}, there {other.get(n)!r})" for n in names)
    return printable(listed) or "the session parameters"


def _agree(from_alice: Hello, from_bob: Hello) -> SessionStart:
    waiting = from_bob.prepared
    settles = waiting if from_bob.committed < waiting <= from_alice.committed else -1
    bob_committed = max(from_bob.committed, settles)
    if bob_committed != from_alice.committed:
        raise RemoteProtocolError(
            f"Alice holds blocks up to {from_alice.committed}, Bob up to {bob_committed}: these key stores are no pair",
            hint="restore the matching stores, or start both ends with new ones and a new pre-shared secret",
        )
    identity = hashlib.sha256(b"entangled-qkd session" + from_alice.session_nonce + from_bob.session_nonce).digest()
    return SessionStart(
        session_id=identity[:16],
        next_block=from_alice.committed + 1,
        simulated=from_alice.simulated or from_bob.simulated,
        software=msgspec.json.encode([from_alice.software, from_bob.software]),
        settles=settles,
    )
