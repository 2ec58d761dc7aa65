"""The documents point at code that is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.document_lines import ROOT, documents, line_of, refreshed


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_every_link_points_at_the_line_of_its_definition(path: Path) -> None:
    assert refreshed(path.read_text()) == path.read_text(), "set them anew: python -m tests.document_lines"


def test_a_link_to_nothing_is_an_error() -> None:
    with pytest.raises(LookupError):
        line_of(ROOT / "qkd/finitekey.py", "no_such_thing")
    assert line_of(ROOT / "qkd/finitekey.py", "BasisCounts.__post_init__") > 1


def test_the_security_document_is_among_them() -> None:
    assert "security.md" in [path.name for path in documents()]
