"""What the vector kernels share: code written as LLVM instructions, and records of arguments.

Numba's loops leave to LLVM whether and how they become vector code; the inner loops of a
convolution are too important for that. Here they are made of vectors of 16, 32 or 64 values
whatever the processor; LLVM splits a vector that is longer than a register.

Such a kernel is one of Numba's intrinsics. What it works on is one record, a named tuple of
addresses, counts and numbers that the calling loop fills in by keywords.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_type_hints

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from asq_hw.compiler import jit
from asq_hw.sim.instruction_sets import LANES

__all__ = [
    "I1",
    "I8",
    "I16",
    "I32",
    "I64",
    "Emitter",
    "address",
    "argument_type",
    "join_sums",
    "kernel",
    "unpack",
    "vector",
]

kernel: Any = intrinsic
"""Decorates a function that emits a kernel. It is Any as Numba has no types."""

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))


def vector(kind: Any, lanes: int = LANES) -> Any:
    """The type of `lanes` values of one kind."""
    return ir.VectorType(kind, lanes)


@jit
def address(array: NDArray[Any], number: int) -> int:
    """The address of an element of a contiguous array."""
    return np.int64(array.ctypes.data) + array.itemsize * number  # type: ignore[return-value]


def argument_type(record: type[tuple[Any, ...]]) -> Any:
    """The type that Numba gives a record of arguments: all int64, or float32 where it says so."""
    hints = get_type_hints(record).values()
    kinds = [numba.float32 if hint is np.float32 else numba.int64 for hint in hints]
    return types.BaseTuple.from_types(kinds, record)  # type: ignore[no-untyped-call]


def unpack(record: type[tuple[Any, ...]], builder: Any, value: Any) -> Any:
    """A record whose fields are LLVM's values, out of the one value that a kernel is given."""
    return record(*cgutils.unpack_tuple(builder, value))  # type: ignore[no-untyped-call]


def join_sums(emit: Emitter, even: Any, odd: Any) -> Any:
    """Two sums of 16 bits in the lower and the upper half of each lane."""
    lanes = even.type.count
    low = emit.builder.and_(even, emit.constant((1 << 16) - 1, I32, lanes))
    return emit.builder.or_(low, emit.builder.shl(odd, emit.constant(16, I32, lanes)))


class Emitter:
    """Appends instructions to a function; addresses are 64-bit integers."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def offset(self, address: Any, count: Any, size: int = 1) -> Any:
        """The address `count` times `size` bytes further on."""
        count = I64(count) if isinstance(count, int) else count
        return self.builder.add(address, self.builder.mul(count, I64(size)))

    def load(self, address: Any, kind: Any) -> Any:
        """A value or a vector; no alignment is needed."""
        value = self.builder.load(self._pointer(address, kind))
        value.align = 1
        return value

    def store(self, value: Any, address: Any) -> None:
        """The opposite of `load`."""
        self.builder.store(value, self._pointer(address, value.type)).align = 1

    def store_masked(self, value: Any, address: Any, mask: Any) -> None:
        """Store the lanes whose bit is set; nothing else is touched."""
        pointer = self._pointer(address, value.type)
        kinds = [value.type, pointer.type, I32, mask.type]
        name = f"llvm.masked.store.v{value.type.count}i{value.type.element.width}.p0"
        function = self._function(name, ir.VoidType(), kinds)
        self.builder.call(function, [value, pointer, I32(1), mask])

    def splat(self, scalar: Any, lanes: int = LANES) -> Any:
        """A vector with the same value in every lane."""
        kind = vector(scalar.type, lanes)
        undefined = ir.Constant(kind, ir.Undefined)
        single = self.builder.insert_element(undefined, scalar, I32(0))
        zeros = ir.Constant(vector(I32, lanes), [0] * lanes)
        return self.builder.shuffle_vector(single, undefined, zeros)

    def constant(self, value: int, kind: Any, lanes: int = LANES) -> Any:
        """The same with a number."""
        return ir.Constant(vector(kind, lanes), [value] * lanes)

    def part(self, value: Any, first: int, lanes: int = LANES) -> Any:
        """`lanes` lanes of a vector from `first` on."""
        places = ir.Constant(vector(I32, lanes), list(range(first, first + lanes)))
        return self.builder.shuffle_vector(value, value, places)

    def minimum(self, a: Any, b: Any) -> Any:
        """The smaller value of each lane, as signed numbers."""
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)

    def maximum(self, a: Any, b: Any) -> Any:
        """The larger one."""
        return self.builder.select(self.builder.icmp_signed(">", a, b), a, b)

    def clamp(self, value: Any, low: Any, high: Any) -> Any:
        """``min(max(value, low), high)``."""
        return self.minimum(self.maximum(value, low), high)

    def reduce(self, operation: str, value: Any) -> Any:
        """One value of all lanes: ``add``, ``smin`` or ``smax``."""
        kind = value.type.element
        name = f"llvm.vector.reduce.{operation}.v{value.type.count}i{kind.width}"
        return self.builder.call(self._function(name, kind, [value.type]), [value])

    def count(self, mask: Any) -> Any:
        """How many lanes of a mask are set, as int64."""
        bits = self.builder.bitcast(mask, ir.IntType(mask.type.count))
        name = f"llvm.ctpop.i{bits.type.width}"
        ones = self.builder.call(self._function(name, bits.type, [bits.type]), [bits])
        return ones if bits.type == I64 else self.builder.zext(ones, I64)

    def if_then(
        self, condition: Any, values: Sequence[Any], body: Callable[[], Sequence[Any]]
    ) -> list[Any]:
        """The values that `body` makes of `values` where the likely condition holds."""
        builder, entry = self.builder, self.builder.block
        with builder.if_then(condition, likely=True):
            results, last = list(body()), builder.block
        phis = [builder.phi(value.type) for value in values]
        for phi, value, result in zip(phis, values, results, strict=True):
            phi.add_incoming(value, entry)
            phi.add_incoming(result, last)
        return phis

    def call(self, name: str, result: Any, values: Sequence[Any]) -> Any:
        """An instruction of the processor, by LLVM's name."""
        function = self._function(name, result, [value.type for value in values])
        return self.builder.call(function, values)

    def fence(self) -> None:
        """Let LLVM move no load across this place: it would fetch more than registers hold."""
        kind = ir.FunctionType(ir.VoidType(), [])
        self.builder.asm(kind, "", "~{memory}", [], True)

    def loop(
        self, count: Any, carried: Sequence[Any], body: Callable[[Any, list[Any]], Sequence[Any]]
    ) -> list[Any]:
        """Run `body`, from carried values to new ones, for ``0 .. count - 1``; count at least 1."""
        builder, entry = self.builder, self.builder.block
        block, done = builder.append_basic_block("loop"), builder.append_basic_block("done")
        builder.branch(block)
        builder.position_at_end(block)
        index = builder.phi(I64)
        index.add_incoming(I64(0), entry)
        phis = [builder.phi(value.type) for value in carried]
        for phi, value in zip(phis, carried, strict=True):
            phi.add_incoming(value, entry)
        results = list(body(index, phis))
        following = builder.add(index, I64(1))
        index.add_incoming(following, builder.block)
        for phi, result in zip(phis, results, strict=True):
            phi.add_incoming(result, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, count), block, done)
        builder.position_at_end(done)
        return results

    def _pointer(self, address: Any, kind: Any) -> Any:
        return self.builder.inttoptr(address, kind.as_pointer())

    def _function(self, name: str, result: Any, kinds: Sequence[Any]) -> Any:
        module = self.builder.module
        known = module.globals.get(name)
        return known or ir.Function(module, ir.FunctionType(result, kinds), name)
