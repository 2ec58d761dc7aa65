"""The pre-shared secret file: one store of each role, whatever crashes, and nobody locked out."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from qkd.errors import (
    KeyStoreError,
    ParameterError,
)
from qkd.exchange.steps import Role
from qkd.kms.preshared import deal_out
from qkd.kms.secretfile import create_secret_file
from qkd.kms.store import KeyStore
from tests.life import TAG_EPS, opened


class TestPreSharedFile:
    @pytest.fixture
    def secret(self, tmp_path: Path) -> Path:
        create_secret_file(tmp_path / "pre-shared", 2048)
        return tmp_path / "pre-shared"

    def test_one_store_of_each_role(self, tmp_path: Path, secret: Path) -> None:
        for role in Role:
            with opened(tmp_path, role) as store:
                deal_out(secret, store)
                deal_out(secret, store)
            with opened(tmp_path, role) as store:
                deal_out(secret, store)
                assert store.pre_shared_installed
            assert (tmp_path / f"pre-shared.{role.value}.used").stat().st_mode & 0o077 == 0

    def test_a_second_store_is_refused_and_takes_nothing(self, tmp_path: Path, secret: Path) -> None:
        with opened(tmp_path) as store:
            deal_out(secret, store)
            store.take_pad(Role.ALICE, TAG_EPS)
        (tmp_path / "alice.db").unlink()
        with opened(tmp_path) as store:
            with pytest.raises(KeyStoreError, match="into another store of alice already") as used:
                deal_out(secret, store)
            assert "qkd pki psk" in used.value.hint
            assert not store.pre_shared_installed

    def test_a_crash_between_marker_and_dealing_locks_nobody_out(self, tmp_path: Path, secret: Path) -> None:
        class Crash(Exception): ...

        class Dying:
            """A store whose process dies when the secret is to be dealt."""

            def __init__(self, store: KeyStore) -> None:
                self.role, self.identity, self.pre_shared_installed = store.role, store.identity, False
                self.beginning = store.beginning

            def install_pre_shared(self, _data: bytes) -> None:
                raise Crash

        with opened(tmp_path) as store, pytest.raises(Crash):
            deal_out(secret, Dying(store))  # type: ignore[arg-type]
        assert (tmp_path / "pre-shared.alice.used").exists()
        with opened(tmp_path) as store:
            deal_out(secret, store)
            assert store.pads_left(Role.ALICE) == 63

    def test_the_file_is_needed_once(self, tmp_path: Path, secret: Path) -> None:
        with opened(tmp_path) as store:
            deal_out(secret, store)
        for file in tmp_path.glob("pre-shared*"):
            file.unlink()
        with opened(tmp_path) as store:
            deal_out(secret, store)
            assert store.pads_left(Role.ALICE) == 63
        with opened(tmp_path, Role.BOB) as other, pytest.raises(ParameterError, match="no such file"):
            deal_out(secret, other)

    def test_a_secret_for_the_next_store_is_not_marked_by_this_one(self, tmp_path: Path, secret: Path) -> None:
        create_secret_file(tmp_path / "next", 2048)
        with opened(tmp_path) as store:
            deal_out(secret, store)
            with pytest.raises(KeyStoreError, match="another pre-shared secret"):
                deal_out(tmp_path / "next", store)
        assert not (tmp_path / "next.alice.used").exists()

    def test_a_marker_lost_is_put_back(self, tmp_path: Path, secret: Path) -> None:
        with opened(tmp_path) as store:
            deal_out(secret, store)
            (tmp_path / "pre-shared.alice.used").unlink()
            deal_out(secret, store)
            assert (tmp_path / "pre-shared.alice.used").read_text().strip() == store.identity

    def test_a_folder_that_cannot_be_written_to(
        self, tmp_path: Path, secret: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As on a read-only stick; root, who runs some of these tests, could write to any other folder."""

        def refuse(path: Path, _target: Path) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

        monkeypatch.setattr("qkd.kms.secretfile.os.link", refuse)
        with opened(tmp_path) as store:
            with pytest.raises(ParameterError, match=r"cannot note beside .* read-only file system") as refused:
                deal_out(secret, store)
            assert "folder that this node may write to" in refused.value.hint
            assert not store.pre_shared_installed

    def test_a_marker_that_is_not_to_be_read(self, tmp_path: Path, secret: Path) -> None:
        (tmp_path / "pre-shared.alice.used").write_bytes(b"\xff\xfe\xfa")
        with opened(tmp_path) as store:
            with pytest.raises(ParameterError, match="cannot read"):
                deal_out(secret, store)
            (tmp_path / "pre-shared.alice.used").write_bytes(b"")
            with pytest.raises(KeyStoreError, match="another store"):
                deal_out(secret, store)

    def test_too_short_or_open_to_others(self, tmp_path: Path) -> None:
        create_secret_file(tmp_path / "short", 2047)
        create_secret_file(tmp_path / "open", 2048)
        (tmp_path / "open").chmod(0o640)
        with opened(tmp_path) as store:
            for name, why in (("short", "2047 bytes"), ("open", "mode 0640")):
                with pytest.raises(ParameterError, match=why):
                    deal_out(tmp_path / name, store)
                assert not (tmp_path / f"{name}.alice.used").exists()
