"""Libraries that only some formats need: imported when such a file is met, named when they are missing."""

from __future__ import annotations

import importlib
from typing import Any

from distribution.errors import TagFormatError


def optional(module: str, *, extra: str, what: str) -> Any:
    """Import `module`.

    Args:
        module: its import path.
        extra: the extra of this package that brings it.
        what: what needs it, for the message.

    Raises:
        TagFormatError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise TagFormatError(
            f"{what} needs {module.split('.')[0]}, which is not installed",
            hint=f"pip install 'entangled-qkd[{extra}]'",
        ) from error
