"""Confirmation: tags over every word of the block in both directions; only then does the key exist.

    Alice -> Bob   tag over the conversation so far
    Bob -> Alice   the same, after his store has prepared the block
    Alice -> Bob   tag that accepts, after her store has committed the block; Bob commits when it verifies

No path to a key passes a tag that has not verified. Alice commits after Bob's tag; Bob commits after Alice's second tag
or, when that was lost with the line, after the one by which she settles the block in the next session: nothing but
these three lines calls `commit`. Until then Bob's block stays prepared, which nobody can fetch, so neither side ever
delivers a key that the other cannot.
"""

from __future__ import annotations

import math
from dataclasses import replace

from qkd.block import SecretBlock, Vault
from qkd.exchange.auth import (
    PAD_BITS,
    Stage,
    TagContext,
    check_tag,
    check_tag_under,
    forgery_probability,
    header,
    make_tag,
    send_tag,
)
from qkd.exchange.handshake import SessionStart
from qkd.exchange.steps import Role, Steps, send
from qkd.exchange.transcript import Transcript
from qkd.session import SessionParameters

# How many tags each side sends in one block.
TAGS = {Role.ALICE: 2, Role.BOB: 1}
# Room for the two Tag messages that the accepting tag covers as well.
MOST_TAG_BYTES = 256


# Frames that a run is charged for when it begins; a block that had more is charged the rest when it is prepared.
_FRAME_BITS = 4096


def run_epsilon(params: SessionParameters) -> float:
    """Failure probability of one run of the protocol, its tags not counted: eps_sec, and eps_cor of the frames.

    A run costs this whether or not a key comes of it: secrecy bounds the chance that it passes *and* fails to be
    secret, so whoever makes runs stop until one suits him has had as many tries as runs were begun.
    """
    frames = 1 + math.ceil(2 * params.block_bits / _FRAME_BITS)
    return params.eps_sec + frames * 2.0**-params.verify_bits


def begin(params: SessionParameters, vault: Vault) -> None:
    """Charge the vault's ledger with a block, before its first word.

    Raises:
        KeyExhausted: too few pads for its tags. EpsilonBudgetSpent: the link's life is over.
    """
    vault.begin_block(run_epsilon(params), TAGS)


def settle(
    role: Role, start: SessionStart, params: SessionParameters, vault: Vault, transcript: Transcript
) -> Steps[None]:
    """Finish the block whose acceptance was lost: Alice says again, under a tag over both Hellos, that she has it.

    It is the block that Bob has prepared: Alice commits a number only after Bob's tag of the same session, which he
    sends after preparing it; and he prepares another block of that number only after a tag of hers over one, which she
    makes no more once she has committed it. If it replaced all keys of the tags, she tags under those inside it, and
    so Bob checks with them (`Vault.settling_keys`).

    Raises:
        AuthenticationError: she did not say it; Bob's block stays prepared.
    """
    if start.settles < 0:
        return
    context = TagContext(
        session_id=start.session_id, block=start.settles, parameters=params.to_json(), software=start.software
    )
    if role is Role.ALICE:
        yield from send_tag(vault, role, context, transcript, Stage.SETTLE)
    else:
        number = yield from check_tag_under(vault.settling_keys, role, context, transcript, Stage.SETTLE)
        # In this order, because the pad may be one that the block brings into the stock.
        vault.commit(start.settles)
        vault.accept_pad(Role.ALICE, number)


def alice(block: SecretBlock, params: SessionParameters, vault: Vault, transcript: Transcript) -> Steps[SecretBlock]:
    """Alice's part; returns the committed block, its report completed.

    Raises:
        AuthenticationError: Bob's tag does not verify: somebody altered the conversation.
    """
    context = _context(block, params)
    block = _completed(block, context, transcript)
    yield from send_tag(vault, Role.ALICE, context, transcript, Stage.TRANSCRIPT)
    yield from check_tag(vault, Role.ALICE, context, transcript, Stage.TRANSCRIPT)
    vault.prepare(block)
    # Made before the commit, which may replace the keys of all tags: Bob checks it with those that he still holds.
    accept = make_tag(vault, Role.ALICE, context, transcript, Stage.ACCEPT)
    vault.commit(block.number)
    yield from send(accept)
    return block


def bob(block: SecretBlock, params: SessionParameters, vault: Vault, transcript: Transcript) -> Steps[SecretBlock]:
    """Bob's part; raises the same."""
    context = _context(block, params)
    block = _completed(block, context, transcript)
    yield from check_tag(vault, Role.BOB, context, transcript, Stage.TRANSCRIPT)
    vault.prepare(block)
    yield from send_tag(vault, Role.BOB, context, transcript, Stage.TRANSCRIPT)
    yield from check_tag(vault, Role.BOB, context, transcript, Stage.ACCEPT)
    vault.commit(block.number)
    return block


def _context(block: SecretBlock, params: SessionParameters) -> TagContext:
    return TagContext(
        session_id=block.session_id, block=block.number, parameters=params.to_json(), software=block.software
    )


def _completed(block: SecretBlock, context: TagContext, transcript: Transcript) -> SecretBlock:
    """The block with what its authentication will have cost; the tags that follow lengthen the transcript a little."""
    tags = sum(TAGS.values())
    longest = len(transcript) + len(header(context, Role.ALICE, Stage.ACCEPT, 0)) + MOST_TAG_BYTES
    report = replace(block.report, auth_bits_used=PAD_BITS * tags, eps_auth=tags * forgery_probability(longest))
    return replace(block, report=report)
