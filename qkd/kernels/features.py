"""Which carry-less multiplication this process may compile, asked before any such instruction is named to LLVM.

LLVM ends the whole process when it is given an intrinsic that the target lacks, and the processor ends it when the
target claims more than the processor has. So an instruction counts as there only if numba compiles for it (which
NUMBA_CPU_NAME, NUMBA_CPU_FEATURES and NUMBA_ENABLE_AVX may forbid) and the processor reports it.
"""

from __future__ import annotations

from distribution.kernels import _jit as _jit  # chooses the cache directory

# isort: split
import llvmlite.binding as llvm
import numba
from numba.core import codegen

# Bits of a register by what it takes, best first.
_NEEDS = {512: ("vpclmulqdq", "avx512f"), 256: ("vpclmulqdq", "avx2"), 128: ("pclmul", "sse4.1")}


def carryless_bits(compiled: str, processor: dict[str, bool]) -> int:
    """The widest register with a carry-less product of its 64-bit words: 512, 256, 128, or 0 for none.

    Args:
        compiled: features that the compiler is told, as LLVM spells them: "+avx2,-sse4a".
        processor: features that the processor reports.
    """
    told = set(compiled.split(","))
    for bits, needed in _NEEDS.items():
        if all(f"+{name}" in told and processor.get(name, False) for name in needed):
            return bits
    return 0


def carryless_here() -> int:
    """The same for this process; 0 when numba compiles nothing."""
    if numba.config.DISABLE_JIT:
        return 0
    try:
        processor = dict(llvm.get_host_cpu_features())
    except RuntimeError:  # LLVM knows no way to ask on this system
        return 0
    told = numba.config.CPU_FEATURES
    if told is None:
        told = codegen.get_host_cpu_features()
    return carryless_bits(told, processor)
