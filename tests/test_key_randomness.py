"""No generator that could be seeded or guessed reaches a key path: read from the source, and proved by running.

Secret randomness is `SecretBits` from the operating system. numpy's and the standard library's generators belong to the
simulator, and in `qkd` to what keeps no key: the rehearsal, the benchmarks and the design of codes.
"""

from __future__ import annotations

import ast
import random
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import qkd
from distribution.sources.replay import Replay
from qkd.link import Link, Side
from qkd.randomness import OperatingSystemBits
from qkd.testing import MemoryVault
from tests.small_link import PARAMS, PRE_SHARED, same_blocks, tags

ROOT = Path(qkd.__file__).parents[1]
KEEP_NO_KEY = ("qkd.rehearsal", "qkd.benchmarks", "qkd.codedesign")
# Who asks the operating system itself: the source of `SecretBits`, and what the key store needs for its files.
ASK_THE_SYSTEM = {"qkd/randomness.py", "qkd/kms/cipher.py", "qkd/kms/unlock.py", "qkd/kms/secretfile.py"}
# Whose random bits are fixed by a label: vectors are reproducible.
FIXED = {"qkd/randomness.py", "qkd/knownanswers/transcript.py"}

MODULES = ("random", "_random", "numpy.random", "scipy.stats")
NAMES = {"default_rng", "RandomState", "SeedSequence", "PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64", "rvs"}


def generators(source: str) -> list[str]:
    """Every place of a source text where a generator comes in: imports, attributes, names and names in strings.

    An annotation may name one: a function that takes a generator can be given none by those who can make none.
    """
    found = []
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    spared = {id(part) for annotation in _annotations(tree) for part in ast.walk(annotation)}
    for node in ast.walk(tree):
        if id(node) in spared:
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if _is_generator_module(alias.name)]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name for name in (str(node.module), *full) if _is_generator_module(name)]
            names += [alias.name for alias in node.names if alias.name in NAMES]
        elif isinstance(node, ast.Attribute) and (node.attr in NAMES or node.attr == "random"):
            names = [node.attr]
        elif isinstance(node, ast.Name) and node.id in NAMES:
            names = [node.id]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            names = [node.value] if node.value in (*MODULES, *NAMES) else []
        found += [f"line {getattr(node, 'lineno', 0)}: {name}" for name in names]
    return found


def _annotations(tree: ast.AST) -> list[ast.expr]:
    found: list[ast.expr | None] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            found.append(node.annotation)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.append(node.returns)
    return [annotation for annotation in found if annotation is not None]


def _is_generator_module(name: str) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in MODULES)


@cache
def sources_on_a_key_path() -> list[Path]:
    """All of `qkd` but what keeps no key, and all of `distribution` that a running station has loaded."""
    own = [path for path in (ROOT / "qkd").rglob("*.py") if not _keeps_no_key(path)]
    code = (
        "import sys, qkd.node.service, qkd.kms.server, qkd.kms.client\n"
        "print(*[m.__file__ for n, m in sorted(sys.modules.items()) if n.startswith('distribution') and m.__file__])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    loaded = [Path(name) for name in done.stdout.split()]
    assert len(own) > 80
    assert len(loaded) > 10
    return own + loaded


def _keeps_no_key(path: Path) -> bool:
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return module.startswith(KEEP_NO_KEY)


def test_no_generator_is_named_on_a_key_path() -> None:
    found = {str(path.relative_to(ROOT)): generators(path.read_text()) for path in sources_on_a_key_path()}
    assert not {name: places for name, places in found.items() if places}


@pytest.mark.parametrize(
    "source",
    [
        "import random",
        "import random as r",
        "from random import SystemRandom",
        "import numpy.random as r",
        "from numpy import random",
        "from numpy.random import default_rng as d",
        "import numpy as np\nnp.random.rand(3)",
        "import numpy\nx = numpy.random",
        "import numpy as n\ndef f(): return n.random.Generator(n.random.PCG64(1))",
        "import scipy.stats",
        "from scipy.stats import binom",
        "def f():\n    import random\n    return random.random()",
        "import numpy as np\ngetattr(np, 'random')",
        "import importlib\nimportlib.import_module('numpy.random')",
        "__import__('random')",
        "def f(rng): return rng.rvs(3)",
        "import numpy as np\ndef f(rng: np.random.Generator = np.random.default_rng()): ...",
    ],
)
def test_the_check_sees_every_way_of_naming_one(source: str) -> None:
    assert generators(source)


@pytest.mark.parametrize(
    "source",
    [
        '"""random"""',
        "x = 'at random'",
        "from qkd.randomness import SecretBits",
        "import secrets",
        "def f(rng: np.random.Generator) -> np.random.Generator: ...",
    ],
)
def test_the_check_leaves_other_words_alone(source: str) -> None:
    assert not generators(source)


def test_what_keeps_no_key_is_imported_by_nothing_that_does() -> None:
    for path in sources_on_a_key_path():
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
            assert not [name for name in names if name.startswith(KEEP_NO_KEY)], path


def test_few_ask_the_system_themselves_and_nobody_fixes_bits_but_for_vectors() -> None:
    """Whoever needs random bits in a protocol is given a `SecretBits`."""
    for path in (ROOT / "qkd").rglob("*.py"):
        name = str(path.relative_to(ROOT))
        if _keeps_no_key(path):
            continue
        used = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        attributes = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
        if name not in ASK_THE_SYSTEM:
            assert not {"urandom", "token_bytes", "token_hex", "randbits", "getrandom", "uuid4"} & attributes, name
        if name not in FIXED:
            assert "FixedBits" not in used, name


def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever draws from any generator but the operating system's fails."""

    def drawn(*_args: object, **_options: object) -> None:
        raise AssertionError("a generator was used on a key path")

    for name in dir(np.random):
        if callable(getattr(np.random, name)) and not name.startswith("_"):
            monkeypatch.setattr(np.random, name, drawn)
    for name in ("random", "randbytes", "getrandbits", "randrange", "randint", "shuffle", "sample", "choice", "seed"):
        monkeypatch.setattr(random, name, drawn)
        monkeypatch.setattr(random.Random, name, drawn, raising=False)


def made_keys() -> list[bytes]:
    at_alice, at_bob = tags()
    alice, bob = MemoryVault(PRE_SHARED), MemoryVault(PRE_SHARED)
    sides = [
        Side(Replay(of, simulated=True), vault, OperatingSystemBits())
        for of, vault in ((at_alice, alice), (at_bob, bob))
    ]
    blocks = Link(PARAMS, *sides).blocks()
    next(blocks)
    next(blocks)
    assert same_blocks(alice, bob)
    return [block.key for block in alice.blocks]


def test_blocks_are_made_with_every_other_generator_poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """And twice the same detections give other keys: what was hashed with is fresh."""
    tags()
    with monkeypatch.context() as context:
        poison(context)
        with pytest.raises(AssertionError, match="key path"):
            np.random.default_rng()
        with pytest.raises(AssertionError, match="key path"):
            random.Random(3)
        first, second = made_keys(), made_keys()
    assert len(first) == len(second) == 2
    assert not set(first) & set(second)
