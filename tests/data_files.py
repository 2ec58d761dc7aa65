"""Where tests find real recordings: small ones in tests/data, others outside the repository.

`find(name)` looks below tests/data, then below $QKD_DATA, then below `shared/data` beside the checkout, and
skips the test, saying so, when the file is in none of them.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def find(name: str) -> Path:
    """Path of a recording such as "picoquant/v30_t2.ptu"; skips the test without it."""
    folders = [HERE / "data", HERE.parents[1] / "shared" / "data"]
    if named := os.environ.get("QKD_DATA"):
        folders.insert(1, Path(named))
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    pytest.skip(f"REAL DATA MISSING: {name} is in none of {[str(f) for f in folders]}; set QKD_DATA")
