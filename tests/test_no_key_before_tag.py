"""No path releases key before the peer's tag has verified: read in the source, and watched under a spoilt line."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path
from typing import Any

import pytest

from qkd import confirmation
from qkd.errors import (
    PeerUnreachable,
    QkdError,
)
from qkd.exchange.codec import decode
from qkd.exchange.messages import Hello, Tag
from qkd.exchange.steps import Role
from qkd.testing import MemoryVault, cut, drop, flip
from tests.small_link import small_link


class Watched(MemoryVault):
    """A vault that notes which of the peer's tags verified and what was done thereupon."""

    def __init__(self, pre_shared: bytes) -> None:
        super().__init__(pre_shared)
        self.told: list[tuple[str, int]] = []

    def accept_pad(self, sender: Role, number: int) -> None:
        super().accept_pad(sender, number)
        self.told.append(("verified", number))

    def commit(self, number: int) -> None:
        super().commit(number)
        self.told.append(("commit", number))


class TestNoKeyBeforeThePeersTag:
    def test_only_confirmation_commits(self) -> None:
        """The claim of qkd/confirmation.py: outside the stores, three calls of commit, all in that file."""
        root = Path(confirmation.__file__).parent
        found = []
        for path in root.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
                if is_call and node.func.attr == "commit" and path.name not in ("store.py",):
                    found.append(path.relative_to(root).as_posix())
        assert found == ["confirmation.py"] * 3

    def test_honest_run(self) -> None:
        alice, bob, _ = self.run(lambda _role, encoded: [encoded])
        assert alice.told == [("verified", 0), ("commit", 0)]
        assert bob.told == [("verified", 0), ("verified", 1), ("commit", 0)]

    @pytest.mark.parametrize("kind", [Hello, Tag])
    @pytest.mark.parametrize("act", [drop, cut, flip(200), flip(91), lambda m: [m, m]])
    def test_with_every_hello_and_tag_spoilt(self, kind: type, act: Any) -> None:
        for target in range(2 if kind is Hello else 3):
            seen = iter(range(100))

            def tamper(_role: Role, encoded: bytes, seen: Any = seen, target: int = target) -> list[bytes]:
                mine = isinstance(decode(encoded), kind) and next(seen) == target
                return act(encoded) if mine else [encoded]

            alice, bob, _ = self.run(tamper)
            for vault, needed in ((alice, 1), (bob, 2)):
                commits = [i for i, (what, _) in enumerate(vault.told) if what == "commit"]
                assert len(commits) <= 1
                for place in commits:
                    assert [what for what, _ in vault.told[:place]].count("verified") == needed
            assert len(alice.blocks) - len(bob.blocks) in (0, 1)
            assert len(bob.blocks) == len(alice.blocks) or bob.prepared == 0

    @staticmethod
    def run(tamper: Any) -> tuple[Watched, Watched, QkdError | None]:
        secret = hashlib.shake_256(b"watched").digest(4096)
        vaults = Watched(secret), Watched(secret)
        link, alice, bob = small_link(tamper=tamper, vaults=vaults)
        try:
            next(link.blocks())
        except (QkdError, PeerUnreachable) as error:
            return alice, bob, error  # type: ignore[return-value]
        return alice, bob, None  # type: ignore[return-value]
