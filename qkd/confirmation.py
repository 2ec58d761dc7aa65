"""Confirmation: tags over every word of the block in both directions; only then does the key exist.

    Alice -> Bob   tag over the conversation so far
    Bob -> Alice   the same, after his store has prepared the block
    Alice -> Bob   tag that accepts, after her store has committed the block; Bob commits when it verifies

If the last message is lost, Bob's block stays prepared and the next handshake finishes it: neither side ever
delivers a key that the other cannot.
"""

from __future__ import annotations

from dataclasses import replace

from qkd.block import SecretBlock, Vault
from qkd.exchange.auth import PAD_BITS, Stage, TagContext, check_tag, forgery_probability, header, make_tag, send_tag
from qkd.exchange.steps import Role, Steps, send
from qkd.exchange.transcript import Transcript
from qkd.session import SessionParameters

# How many tags each side sends in one block.
TAGS = {Role.ALICE: 2, Role.BOB: 1}
# Room for the two Tag messages that the accepting tag covers as well.
MOST_TAG_BYTES = 256


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
    return TagContext(session_id=block.session_id, block=block.number, parameters=params.to_json())


def _completed(block: SecretBlock, context: TagContext, transcript: Transcript) -> SecretBlock:
    """The block with what its authentication will have cost; the tags that follow lengthen the transcript a little."""
    tags = sum(TAGS.values())
    longest = len(transcript) + len(header(context, Role.ALICE, Stage.ACCEPT, 0)) + MOST_TAG_BYTES
    report = replace(block.report, auth_bits_used=PAD_BITS * tags, eps_auth=tags * forgery_probability(longest))
    return replace(block, report=report)
