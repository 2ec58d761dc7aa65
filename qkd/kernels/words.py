"""Bits of a 64-bit word: how many, lowest, highest, parity, each one machine instruction.

Numba has no spelling for these instructions, so they are named to LLVM; with NUMBA_DISABLE_JIT=1 Python's integers
do the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from distribution.kernels._jit import inlined

# isort: split
import numba  # after _jit, which chooses the cache directory

if numba.config.DISABLE_JIT:

    def count(x: np.uint64) -> int:
        """Number of ones."""
        return int(x).bit_count()

    def lowest(x: np.uint64) -> int:
        """Index of the lowest one of a word that is not zero."""
        return (int(x) & -int(x)).bit_length() - 1

    def highest(x: np.uint64) -> int:
        """Index of the highest one of a word that is not zero."""
        return int(x).bit_length() - 1

    def prefetch(rows: Any, row: int) -> None:
        """Nothing to do."""

else:
    from llvmlite import ir
    from numba.core import cgutils
    from numba.extending import intrinsic

    def _instruction(emit: Callable[[Any, Any], Any]) -> Any:
        """A function uint64 -> int64 that is one LLVM instruction."""

        def typed(_typing: Any, _x: Any) -> Any:
            def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
                return emit(builder, arguments[0])

            return numba.types.int64(numba.types.uint64), generate

        return intrinsic(typed)

    _defined = ir.Constant(ir.IntType(1), 1)  # "the word is not zero": spares the check
    count = _instruction(lambda builder, x: builder.ctpop(x))
    lowest = _instruction(lambda builder, x: builder.cttz(x, _defined))
    _leading = _instruction(lambda builder, x: builder.ctlz(x, _defined))

    @intrinsic  # type: ignore[untyped-decorator]
    def prefetch(_typing: Any, rows: Any, row: Any) -> Any:
        """Ask for a row of a two-dimensional array to be brought into the cache; the row may be any number."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            array = context.make_array(signature.args[0])(context, builder, arguments[0])
            stride = cgutils.unpack_tuple(builder, array.strides, 2)[0]
            byte = ir.IntType(8).as_pointer()
            address = builder.gep(builder.bitcast(array.data, byte), [builder.mul(stride, arguments[1])])
            number = ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
            call = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
            builder.call(call, [address, number(0), number(3), number(1)])
            return context.get_dummy_value()

        return numba.types.none(rows, numba.types.int64), generate

    @inlined
    def highest(x: np.uint64) -> int:
        """Index of the highest one of a word that is not zero."""
        return 63 - _leading(x)


@inlined
def parity(x: np.uint64) -> np.uint64:
    """Parity of the ones."""
    return np.uint64(count(x)) & np.uint64(1)
