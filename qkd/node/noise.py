"""Reading a noise device: exactly so many bytes, or an error that says why; never a wait without end."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

from qkd.entropy import CombinedBits, NoiseClaim
from qkd.errors import EntropyFailed, ParameterError
from qkd.randomness import OperatingSystemBits, SecretBits

PATIENCE_S = 10.0


class NoiseDevice:
    """A device or file of raw samples.

    Args:
        path: the device.
        patience_s: how long a request may take.

    Raises:
        ParameterError: it cannot be opened.
    """

    def __init__(self, path: Path, patience_s: float = PATIENCE_S) -> None:
        self._path = path
        self._patience_s = patience_s
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise ParameterError(
                f"the noise device {path} cannot be opened: {(error.strerror or str(error)).lower()}",
                hint="name a readable device as randomness.device, or leave it out",
            ) from error

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes; raises EntropyFailed when the device ends, breaks or is too slow."""
        collected = bytearray()
        end = time.monotonic() + self._patience_s
        while len(collected) < count:
            if not select.select([self._fd], [], [], max(0.0, end - time.monotonic()))[0]:
                raise self._failed(f"gave {len(collected)} of {count} bytes in {self._patience_s:g} s")
            try:
                part = os.read(self._fd, count - len(collected))
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._failed((error.strerror or str(error)).lower()) from error
            if not part:
                raise self._failed(f"ended after {len(collected)} of {count} bytes")
            collected += part
        return bytes(collected)

    def close(self) -> None:
        """Give the device up; harmless when done twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _failed(self, why: str) -> EntropyFailed:
        return EntropyFailed(
            f"the noise device {self._path} {why}",
            hint="check that it is plugged in; or remove randomness.device to do without it",
        )


def open_secrets(device: Path | None, claim: NoiseClaim) -> SecretBits:
    """The station's secret randomness: the operating system's, combined with a noise device where one is named.

    Raises:
        ParameterError: the device cannot be opened. EntropyFailed: it fails the start-up test.
    """
    if device is None:
        return OperatingSystemBits()
    return CombinedBits(OperatingSystemBits(), NoiseDevice(device), claim)
