"""Links from the documents to lines of code: `python -m tests.document_lines` sets them; a test finds stale ones.

A link names a definition and points at its line: [`qkd/finitekey.py: key_length`](../qkd/finitekey.py#L153). The name
may be dotted (`Class.method`) and may be a constant of the module.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\[`(?P<path>[\w/]+\.py): (?P<name>[\w.]+)`\]\((?P<target>[^)]*)\)")


def line_of(path: Path, name: str) -> int:
    """The line on which a file defines a name.

    Raises:
        LookupError: it does not.
    """
    body: list[ast.stmt] = ast.parse(path.read_text()).body
    for part in name.split("."):
        found = next((node for node in body if part in _names(node)), None)
        if found is None:
            raise LookupError(f"{path} does not define {name}")
        body = getattr(found, "body", [])
    assert found is not None
    return found.lineno


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def refreshed(text: str) -> str:
    """A document in docs/ with every link set to the line where its definition stands now."""

    def set_line(match: re.Match[str]) -> str:
        path, name = match["path"], match["name"]
        return f"[`{path}: {name}`](../{path}#L{line_of(ROOT / path, name)})"

    return LINK.sub(set_line, text)


def documents() -> list[Path]:
    """Every document that has such links."""
    return [path for path in sorted((ROOT / "docs").glob("*.md")) if LINK.search(path.read_text())]


if __name__ == "__main__":
    for document in documents():
        document.write_text(refreshed(document.read_text()))
        print(document.name)
