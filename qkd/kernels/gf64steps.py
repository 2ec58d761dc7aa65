"""The steps of an additive transform over GF(2^64), eight elements at a time, each a few machine instructions.

Carry-less products of 64-bit words come from PCLMULQDQ, as wide as `features` allows (4, 2 or 1 instruction's worth
of registers for eight words: LLVM splits the rest). The 127 bits of a product fold by two more products with
x^4 + x^3 + x + 1: the first leaves at most 4 bits above bit 63, the second none.

Numba has no spelling for these instructions, so they are named to LLVM; with NUMBA_DISABLE_JIT=1 numpy does the same.
Without carry-less multiplication nothing here may be called: `WIDTH` is 0 and LLVM would end the process.

A step acts on words of an array `f`, u = f[i : i + 8] and v = f[j : j + 8] (i, j any index), t a field element:

    add     u ^= v
    scale   u ^= t v
    down    u ^= t v, then v ^= u
    up      u ^= v, then v ^= t u
    times   u *= v, v of another array

Beside them, 32 bits of a bit string, one a byte, to and from a word, first bit lowest.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from qkd.kernels import features
from qkd.kernels.gf64 import POLYNOMIAL, TWIDDLES, Bits, Words

# isort: split
import numba

WIDTH = features.carryless_here()


# A conversion of 16 coefficients as groups of (to, from), "word `to` ^= word `from`"; within a group none is both.
# It is the smallest case of `conversion`, unrolled.
def _steps_of_16() -> list[list[tuple[int, int]]]:
    groups: list[list[tuple[int, int]]] = []

    def convert(levels: int, firsts: list[int], stride: int) -> None:
        if levels < 2:
            return
        i = 1 if levels == 2 else 2
        for m in range(levels, i, -1):
            half, shift = 1 << (m - 1), 1 << (m - 1 - i)
            starts = [first + stride * start for first in firsts for start in range(0, 1 << levels, 2 * half)]
            for to, source, count in ((half, 2 * half - shift, shift), (shift, half, half - shift)):
                pairs = [(to + r, source + r) for r in range(count)]
                groups.append([(start + stride * a, start + stride * b) for start in starts for a, b in pairs])
        convert(levels - i, [first + stride * r for first in firsts for r in range(1 << i)], stride << i)
        convert(i, [first + stride * (r << i) for first in firsts for r in range(1 << (levels - i))], stride)

    convert(4, [0], 1)
    return groups


STEPS_OF_16 = _steps_of_16()
TRANSPOSED_OF_16 = [[(source, to) for to, source in group] for group in reversed(STEPS_OF_16)]
INVERSE_TRANSPOSED_OF_16 = [[(source, to) for to, source in group] for group in STEPS_OF_16]

# Which words are u and v of the last three levels, on 16 words; and what is added to the first block's factor to
# have each lane's own.
_LAST = {4: [0, 1, 2, 3, 8, 9, 10, 11], 2: [0, 1, 4, 5, 8, 9, 12, 13], 1: [0, 2, 4, 6, 8, 10, 12, 14]}
_FACTORS = {half: [int(TWIDDLES[lane // half]) for lane in range(8)] for half in _LAST}


if numba.config.DISABLE_JIT:

    def _times(v: Words, t: Any) -> Words:
        """v t, v of any length, t a scalar or one factor a word."""
        one, top, low = np.uint64(1), np.uint64(63), np.uint64(POLYNOMIAL)
        t = np.broadcast_to(np.asarray(t, np.uint64), v.shape)
        total = np.zeros_like(v)
        for bit in range(63, -1, -1):
            total = (total << one) ^ (total >> top) * low ^ (t >> np.uint64(bit) & one) * v
        return total

    def add8(f: Words, i: int, j: int) -> None:
        """See the module."""
        f[i : i + 8] ^= f[j : j + 8]

    def scale8(f: Words, i: int, j: int, t: int) -> None:
        """See the module."""
        f[i : i + 8] ^= _times(f[j : j + 8], t)

    def down8(f: Words, i: int, j: int, t: int) -> None:
        """See the module."""
        scale8(f, i, j, t)
        add8(f, j, i)

    def up8(f: Words, i: int, j: int, t: int) -> None:
        """See the module."""
        add8(f, i, j)
        scale8(f, j, i, t)

    def times8(f: Words, g: Words, i: int) -> None:
        """See the module."""
        f[i : i + 8] = _times(f[i : i + 8], g[i : i + 8])

    def down32(f: Words, i: int, step: int, t: int, low: int, high: int) -> None:
        """Two levels down of the words at i, i + step, i + 2 step, i + 3 step; `low`, `high` on the second level."""
        for k in (0, step):
            down8(f, i + k, i + k + 2 * step, t)
        down8(f, i, i + step, low)
        down8(f, i + 2 * step, i + 3 * step, high)

    def up32(f: Words, i: int, step: int, t: int, low: int, high: int) -> None:
        """Two levels up of the same words: what `down32` did last comes first."""
        up8(f, i, i + step, low)
        up8(f, i + 2 * step, i + 3 * step, high)
        for k in (0, step):
            up8(f, i + k, i + k + 2 * step, t)

    def _last_level(f: Words, first: int, half: int, t: int, transposed: bool, up: bool) -> None:
        u = first + np.array(_LAST[half])
        u, v = (u + half, u) if transposed else (u, u + half)
        factors = np.uint64(t) ^ np.array(_FACTORS[half], np.uint64)
        if up:
            f[u] ^= f[v]
            f[v] ^= _times(f[u], factors)
        else:
            f[u] ^= _times(f[v], factors)
            f[v] ^= f[u]

    def last_down(f: Words, i: int, t4: int, t2: int, t1: int) -> None:
        """The last three levels down of two blocks of 8 words, t4, t2, t1 the factors of the first block of each."""
        for half, t in ((4, t4), (2, t2), (1, t1)):
            _last_level(f, i, half, t, False, False)

    def last_down_exchanged(f: Words, i: int, t4: int, t2: int, t1: int) -> None:
        """The same with u and v exchanged."""
        for half, t in ((4, t4), (2, t2), (1, t1)):
            _last_level(f, i, half, t, True, False)

    def last_up(f: Words, i: int, t4: int, t2: int, t1: int) -> None:
        """The three levels up, as their first."""
        for half, t in ((1, t1), (2, t2), (4, t4)):
            _last_level(f, i, half, t, False, True)

    def _applied(groups: list[list[tuple[int, int]]]) -> tuple[Any, Any]:
        def rows(f: Words, i: int) -> None:
            """The conversion of 16 words."""
            for group in groups:
                for to, source in group:
                    f[i + to] ^= f[i + source]

        def columns(f: Words, i: int, stride: int) -> None:
            """Eight conversions side by side: of the words at i + c, i + c + stride, .. for c = 0 .. 7."""
            for group in groups:
                for to, source in group:
                    add8(f, i + to * stride, i + source * stride)

        return rows, columns

    def gather32(bits: Bits, i: int) -> int:
        """bits[i : i + 32] in one word."""
        return np.uint64(np.packbits(bits[i : i + 32], bitorder="little").view("<u4")[0])

    def scatter32(bits: Bits, i: int, word: int) -> None:
        """bits[i : i + 32] ^= the lower 32 bits of a word."""
        low = np.array([word & np.uint64(0xFFFFFFFF)], "<u4")
        bits[i : i + 32] ^= np.unpackbits(low.view(np.uint8), bitorder="little")

    rows16, columns16 = _applied(STEPS_OF_16)
    rows16_transposed, columns16_transposed = _applied(TRANSPOSED_OF_16)
    rows16_inverse_transposed, columns16_inverse_transposed = _applied(INVERSE_TRANSPOSED_OF_16)

else:
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    _WORD, _BYTE, _INDEX = ir.IntType(64), ir.IntType(8), ir.IntType(32)
    _EIGHT = ir.VectorType(_WORD, 8)
    _NAMES = {512: "llvm.x86.pclmulqdq.512", 256: "llvm.x86.pclmulqdq.256", 128: "llvm.x86.pclmulqdq"}

    def _lanes(numbers: list[int]) -> Any:
        return ir.Constant(ir.VectorType(_INDEX, len(numbers)), numbers)

    def _vector(words: list[int]) -> Any:
        return ir.Constant(_EIGHT, words)

    def _splat(builder: Any, word: Any) -> Any:
        empty = ir.Constant(_EIGHT, ir.Undefined)
        return builder.shuffle_vector(
            builder.insert_element(empty, word, ir.Constant(_INDEX, 0)), empty, _lanes([0] * 8)
        )

    def _product(builder: Any, v: Any, t: Any) -> Any:
        """v t lane by lane: even lanes, odd lanes, folded twice each, and interleaved."""
        count = WIDTH // 64
        part = ir.VectorType(_WORD, count)
        kind = ir.FunctionType(part, [part, part, _BYTE])
        multiply = cgutils.get_or_insert_function(builder.module, kind, _NAMES[WIDTH])
        fold = ir.Constant(part, [POLYNOMIAL] * count)

        def times(a: Any, b: Any, which: int) -> Any:
            return builder.call(multiply, [a, b, ir.Constant(_BYTE, which)])

        def folded(p: Any) -> Any:
            first = times(p, fold, 0x01)  # upper word of p by lower word of the constant
            return builder.xor(builder.xor(p, first), times(first, fold, 0x01))

        parts = []
        for first in range(0, 8, count):
            here = _lanes(list(range(first, first + count)))
            a, b = (builder.shuffle_vector(x, x, here) for x in (v, t))
            even, odd = folded(times(a, b, 0x00)), folded(times(a, b, 0x11))
            both = [lane + (count if odd_lane else 0) for lane in range(0, count, 2) for odd_lane in (0, 1)]
            parts.append(builder.shuffle_vector(even, odd, _lanes(both)))
        while len(parts) > 1:
            wide = _lanes(list(range(2 * parts[0].type.count)))
            parts = [builder.shuffle_vector(a, b, wide) for a, b in zip(parts[::2], parts[1::2], strict=True)]
        return parts[0]

    class _Memory:
        """Eight words of an array at a time."""

        def __init__(self, context: Any, builder: Any, kind: Any, array: Any) -> None:
            self.builder, self.data = builder, context.make_array(kind)(context, builder, array).data

        def _at(self, index: Any) -> Any:
            return self.builder.bitcast(self.builder.gep(self.data, [index]), _EIGHT.as_pointer())

        def load(self, index: Any) -> Any:
            loaded = self.builder.load(self._at(index))
            loaded.align = 8
            return loaded

        def store(self, index: Any, value: Any) -> None:
            self.builder.store(value, self._at(index)).align = 8

    def _down(builder: Any, u: Any, v: Any, t: Any) -> tuple[Any, Any]:
        u = builder.xor(u, _product(builder, v, t))
        return u, builder.xor(v, u)

    def _up(builder: Any, u: Any, v: Any, t: Any) -> tuple[Any, Any]:
        u = builder.xor(u, v)
        return u, builder.xor(v, _product(builder, u, t))

    def _steps(*arguments: Any) -> Any:
        """Makes an intrinsic of (f, *arguments) from what it does to the memory of f."""

        def wrap(emit: Any) -> Any:
            def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
                emit(builder, _Memory(context, builder, signature.args[0], values[0]), *values[1:])
                return context.get_dummy_value()

            # Numba counts the parameters of an intrinsic, so there is one shape for each number of them.
            if len(arguments) == 1:
                return intrinsic(lambda _t, f, _1: (types.void(f, *arguments), generate))
            if len(arguments) == 2:
                return intrinsic(lambda _t, f, _1, _2: (types.void(f, *arguments), generate))
            if len(arguments) == 3:
                return intrinsic(lambda _t, f, _1, _2, _3: (types.void(f, *arguments), generate))
            if len(arguments) == 4:
                return intrinsic(lambda _t, f, _1, _2, _3, _4: (types.void(f, *arguments), generate))
            return intrinsic(lambda _t, f, _1, _2, _3, _4, _5: (types.void(f, *arguments), generate))

        return wrap

    _I, _T = types.intp, types.uint64

    def _move(change: Any) -> Any:
        def emit(builder: Any, f: _Memory, i: Any, j: Any, t: Any) -> None:
            u, v = change(builder, f.load(i), f.load(j), _splat(builder, t))
            f.store(i, u)
            f.store(j, v)

        return _steps(_I, _I, _T)(emit)

    def _add(builder: Any, f: Any, i: Any, j: Any) -> None:
        f.store(i, builder.xor(f.load(i), f.load(j)))

    def _scale(builder: Any, f: Any, i: Any, j: Any, t: Any) -> None:
        f.store(i, builder.xor(f.load(i), _product(builder, f.load(j), _splat(builder, t))))

    add8 = _steps(_I, _I)(_add)
    scale8 = _steps(_I, _I, _T)(_scale)
    down8, up8 = _move(_down), _move(_up)

    @intrinsic  # type: ignore[untyped-decorator]
    def times8(_typing: Any, f: Any, g: Any, i: Any) -> Any:
        """See the module."""

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            a, b = (_Memory(context, builder, signature.args[n], values[n]) for n in (0, 1))
            a.store(values[2], _product(builder, a.load(values[2]), b.load(values[2])))
            return context.get_dummy_value()

        return types.void(f, g, _I), generate

    def _four(builder: Any, i: Any, step: Any) -> list[Any]:
        at = [i]
        for _ in range(3):
            at.append(builder.add(at[-1], step))
        return at

    def _down_four(builder: Any, f: Any, i: Any, step: Any, t: Any, low: Any, high: Any) -> None:
        at = _four(builder, i, step)
        a, b, c, d = (f.load(index) for index in at)
        t, low, high = (_splat(builder, x) for x in (t, low, high))
        a, c = _down(builder, a, c, t)
        b, d = _down(builder, b, d, t)
        a, b = _down(builder, a, b, low)
        c, d = _down(builder, c, d, high)
        for index, value in zip(at, (a, b, c, d), strict=True):
            f.store(index, value)

    def _up_four(builder: Any, f: Any, i: Any, step: Any, t: Any, low: Any, high: Any) -> None:
        at = _four(builder, i, step)
        a, b, c, d = (f.load(index) for index in at)
        t, low, high = (_splat(builder, x) for x in (t, low, high))
        a, b = _up(builder, a, b, low)
        c, d = _up(builder, c, d, high)
        a, c = _up(builder, a, c, t)
        b, d = _up(builder, b, d, t)
        for index, value in zip(at, (a, b, c, d), strict=True):
            f.store(index, value)

    down32, up32 = (_steps(_I, _I, _T, _T, _T)(emit) for emit in (_down_four, _up_four))

    def _last(halves: tuple[int, ...], exchanged: bool, change: Any) -> Any:
        """The last three levels within two registers: gathered into u and v, changed, put back, level by level."""

        def emit(builder: Any, f: Any, i: Any, t4: Any, t2: Any, t1: Any) -> None:
            j = builder.add(i, ir.Constant(i.type, 8))
            a, b = f.load(i), f.load(j)
            for half in halves:
                t = builder.xor(_splat(builder, {4: t4, 2: t2, 1: t1}[half]), _vector(_FACTORS[half]))
                low = _LAST[half]
                high = [lane + half for lane in low]
                u, v = (builder.shuffle_vector(a, b, _lanes(lanes)) for lanes in (low, high))
                if exchanged:
                    v, u = change(builder, v, u, t)
                else:
                    u, v = change(builder, u, v, t)
                back = [(low + high).index(lane) for lane in range(16)]
                a, b = (builder.shuffle_vector(u, v, _lanes(lanes)) for lanes in (back[:8], back[8:]))
            f.store(i, a)
            f.store(j, b)

        return _steps(_I, _T, _T, _T)(emit)

    last_down, last_down_exchanged = (_last((4, 2, 1), exchanged, _down) for exchanged in (False, True))
    last_up = _last((1, 2, 4), False, _up)

    def _masked(builder: Any, sums: list[Any], group: list[tuple[int, int]]) -> list[Any]:
        """One group of a conversion of 16 words in two registers, by shuffles that fill in zeros."""
        source_of = dict(group)
        zero = _vector([0] * 8)
        changed = list(sums)
        for half in (0, 1):
            wanted = [source_of.get(8 * half + lane, -1) for lane in range(8)]
            for register in (0, 1):
                lanes = [w - 8 * register if w // 8 == register else 8 for w in wanted]
                if lanes != [8] * 8:
                    moved = builder.shuffle_vector(sums[register], zero, _lanes(lanes))
                    changed[half] = builder.xor(changed[half], moved)
        return changed

    def _rows(groups: list[list[tuple[int, int]]]) -> Any:
        def emit(builder: Any, f: Any, i: Any) -> None:
            j = builder.add(i, ir.Constant(i.type, 8))
            sums = [f.load(i), f.load(j)]
            for group in groups:
                sums = _masked(builder, sums, group)
            f.store(i, sums[0])
            f.store(j, sums[1])

        return _steps(_I)(emit)

    def _columns(groups: list[list[tuple[int, int]]]) -> Any:
        def emit(builder: Any, f: Any, i: Any, stride: Any) -> None:
            at = [builder.add(i, builder.mul(stride, ir.Constant(stride.type, row))) for row in range(16)]
            rows = [f.load(index) for index in at]
            for group in groups:
                for to, source in group:
                    rows[to] = builder.xor(rows[to], rows[source])
            for index, row in zip(at, rows, strict=True):
                f.store(index, row)

        return _steps(_I, _I)(emit)

    rows16, columns16 = _rows(STEPS_OF_16), _columns(STEPS_OF_16)
    rows16_transposed, columns16_transposed = _rows(TRANSPOSED_OF_16), _columns(TRANSPOSED_OF_16)
    rows16_inverse_transposed = _rows(INVERSE_TRANSPOSED_OF_16)
    columns16_inverse_transposed = _columns(INVERSE_TRANSPOSED_OF_16)

    _32_BYTES, _32_BITS = ir.VectorType(_BYTE, 32), ir.VectorType(ir.IntType(1), 32)

    def _bytes(context: Any, builder: Any, kind: Any, array: Any, i: Any) -> Any:
        data = context.make_array(kind)(context, builder, array).data
        return builder.bitcast(builder.gep(data, [i]), _32_BYTES.as_pointer())

    @intrinsic  # type: ignore[untyped-decorator]
    def gather32(_typing: Any, bits: Any, i: Any) -> Any:
        """bits[i : i + 32] in one word."""

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            loaded = builder.load(_bytes(context, builder, signature.args[0], *values))
            loaded.align = 1
            ones = builder.icmp_unsigned("!=", loaded, ir.Constant(_32_BYTES, [0] * 32))
            return builder.zext(builder.bitcast(ones, _INDEX), _WORD)

        return types.uint64(bits, _I), generate

    @intrinsic  # type: ignore[untyped-decorator]
    def scatter32(_typing: Any, bits: Any, i: Any, word: Any) -> Any:
        """bits[i : i + 32] ^= the lower 32 bits of a word."""

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            address = _bytes(context, builder, signature.args[0], *values[:2])
            loaded = builder.load(address)
            loaded.align = 1
            ones = builder.bitcast(builder.trunc(values[2], _INDEX), _32_BITS)
            builder.store(builder.xor(loaded, builder.zext(ones, _32_BYTES)), address).align = 1
            return context.get_dummy_value()

        return types.void(bits, _I, _T), generate
