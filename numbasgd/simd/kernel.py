"""Kernels as functions for Numba: their arguments, the control flow of their code, and the call.

    @kernel("*x, *y, n")
    def double(f, size, lanes):  # y[i] := 2 x[i] for i < n
        x, y, n = f.arguments
        L = f.lanes(size, lanes)

        def step(i, rest):
            mask = None if rest is None else L.first_of(rest)
            value = L.load(x + i * size, mask)
            L.store(L.add(value, value), y + i * size, mask)

        f.loop_and_tail(n, lanes, step)

is called in an ``@njit`` function as ``double(SIZE, LANES, x, y, n)``.  What a function takes besides ``f`` are
literals: integers that are known when it is compiled.  The declaration names the other arguments, which
are integers of 64 bits; a star marks an address, which arrives as a pointer.  All of them are trusted.

The code becomes one private function for each combination of literals in the module that calls it, which
keeps the loops around it small.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from numbasgd.simd.ir import I64, VOID, Int, Lanes, Pointer, Value, i64

Body = Callable[..., Any]  # writes a piece of code; takes the values and returns what they have become


class Kernel:
    """Code that is being written.  ``b`` : the place where it goes on.  ``arguments`` : integers and pointers.

    ``values`` are integers, pointers and vectors that a piece of code takes on and changes; what they have
    become is returned.  Where there are none, the piece of code takes none.
    """

    def __init__(self, b: ir.IRBuilder, arguments: Sequence[Any]) -> None:
        self.b, self.arguments = b, tuple(arguments)

    def lanes(self, size: int, lanes: int, has_fma: bool = True, is_half: bool = False) -> Lanes:
        """Vectors of ``lanes`` numbers of ``size`` bytes; see ``Lanes``."""
        return Lanes(self.b, size, lanes, has_fma, is_half)

    def integer(self, value: Int | int) -> Int:
        """A constant as an integer of the code."""
        return Int(self.b, value) if isinstance(value, int) else value

    def select(self, condition: Value, x: Any, y: Any) -> Any:
        """``x`` where the condition holds, else ``y``: two integers, of which one is no constant, or masks."""
        x, y = (self.integer(value) if isinstance(value, int) else value for value in (x, y))
        return _same_kind(x, self.b.select(condition, _plain(x), _plain(y)))

    def loop(
        self, start: Int | int, stop: Int | int, step: int, body: Body, values: Sequence[Any] = ()
    ) -> list[Any]:
        """``for i in range(start, stop, step): values = body(i, values)``."""
        last = self.integer(stop)
        return self._loop(self.integer(start), lambda i: i + step, lambda i: i < last, body, values)

    def repeat(self, n: Int, step: int, body: Body, values: Sequence[Any]) -> list[Any]:
        """``values = body(values)`` n / step times, counted down: a count that only ends the loop."""
        return self._loop(n, lambda left: left - step, lambda left: left > 0, lambda _, now: body(now), values)

    def _loop(
        self,
        first: Int,
        following: Callable[[Int], Int],
        goes_on: Callable[[Int], Value],
        body: Body,
        values: Sequence[Any],
    ) -> list[Any]:
        """The one loop: not entered where ``goes_on(first)`` does not hold, and tested at its end."""
        b = self.b
        before, inside, after = b.block, b.append_basic_block("loop"), b.append_basic_block("after")
        b.cbranch(goes_on(first), inside, after)
        b.position_at_end(inside)
        i = b.phi(I64)
        phis = [b.phi(_plain(value).type) for value in values]
        changed = _run(body, Int(b, i), values=[_same_kind(*pair) for pair in zip(values, phis, strict=True)])
        later = following(Int(b, i))
        b.cbranch(goes_on(later), inside, after)
        for phi, outer, inner in zip([i, *phis], [first, *values], [later, *changed], strict=True):
            phi.add_incoming(_plain(outer), before)
            phi.add_incoming(_plain(inner), b.block)
        ways = [(before, values), (b.block, changed)]
        b.position_at_end(after)
        return self._merged(ways)

    def loop_and_tail(self, stop: Int, step: int, body: Body, values: Sequence[Any] = ()) -> list[Any]:
        """``values = body(i, None, values)`` for each whole step below ``stop``, and once more for the rest.

        The last time, which is left out where ``step`` divides ``stop``, how many are left stands for None.
        """
        whole = stop & -step
        values = self.loop(0, whole, step, lambda i, *now: body(i, None, *now), values)
        rest = stop - whole
        return self.when(rest > 0, lambda *now: body(whole, rest, *now), values)

    def unrolled(self, n: Int, most: int, body: Body, values: Sequence[Any] = (), least: int = 1) -> list[Any]:
        """``for i in range(n): values = body(i, values)`` written out, for ``least <= n <= most``."""
        b, end, ways = self.b, self.b.append_basic_block("end"), []
        for i in range(most):
            if i >= least:
                ways.append((b.block, values))
                more = b.append_basic_block(f"step{i}")
                b.cbranch(n > i, more, end)
                b.position_at_end(more)
            values = _run(body, i, values=values)
        ways.append((b.block, values))
        b.branch(end)
        b.position_at_end(end)
        return self._merged(ways)

    def when(self, condition: Value, body: Body, values: Sequence[Any] = ()) -> list[Any]:
        """``values = body(values)`` where the condition holds."""
        b = self.b
        before, inside, after = b.block, b.append_basic_block("when"), b.append_basic_block("after")
        b.cbranch(condition, inside, after)
        b.position_at_end(inside)
        changed = _run(body, values=values)
        ways = [(before, values), (b.block, changed)]
        b.branch(after)
        b.position_at_end(after)
        return self._merged(ways)

    def branches(self, condition: Value) -> Iterator[bool]:
        """``for holds in f.branches(condition):`` writes its body for both, each reached where it is so."""
        with self.b.if_else(condition) as (then, otherwise):
            for branch, holds in ((then, True), (otherwise, False)):
                with branch:
                    yield holds

    def switch(self, chosen: Int, cases: Mapping[int, Callable[[], None]]) -> None:
        """The code of the case that ``chosen`` says; nothing where it says none."""
        b = self.b
        end = b.append_basic_block("end")
        switch = b.switch(chosen.value, end)
        for number, write in cases.items():
            block = b.append_basic_block(f"case{number}")
            switch.add_case(i64(number), block)
            b.position_at_end(block)
            write()
            b.branch(end)
        b.position_at_end(end)

    def call(self, function: PrivateFunction, literals: Sequence[int], arguments: Sequence[Int]) -> None:
        """Call a private function, written before unless the module has it."""
        self.b.call(function.of(self.b.module, literals), [_plain(argument) for argument in arguments])

    def _merged(self, ways: Sequence[tuple[ir.Block, Sequence[Any]]]) -> list[Any]:
        """The values of the block that control came from."""
        merged = []
        for number, value in enumerate(ways[0][1]):
            phi = self.b.phi(_plain(value).type)
            for block, values in ways:
                phi.add_incoming(_plain(values[number]), block)
            merged.append(_same_kind(value, phi))
        return merged


def _run(body: Body, *place: Any, values: Sequence[Any]) -> Sequence[Any]:
    return body(*place, list(values)) if values else body(*place) or ()


def _plain(value: Any) -> ir.Value:
    return value.value if isinstance(value, (Int, Pointer)) else value


def _same_kind(value: Any, plain: ir.Value) -> Any:
    return type(value)(value.b, plain) if isinstance(value, (Int, Pointer)) else plain


class PrivateFunction:
    """Code that is written once a module for each combination of literals, and not inlined.

    Its name is all that tells it apart, in the module and in the cache of compiled code.
    """

    def __init__(self, write: Callable[..., None], declaration: str) -> None:
        _check_name(write)
        functools.update_wrapper(self, write)  # type: ignore[arg-type]
        self.write, self.arguments = write, [name.strip() for name in declaration.split(",")]
        self.name = f"{write.__module__}.{write.__qualname__}"

    def of(self, module: ir.Module, literals: Sequence[int]) -> ir.Function:
        """The function for these literals."""
        name = ".".join([self.name, *map(str, literals)])
        found = module.globals.get(name)
        if found is not None:
            return found
        function = ir.Function(module, ir.FunctionType(VOID, [I64] * len(self.arguments)), name)
        function.linkage = "private"
        for attribute in ("noinline", "nounwind"):
            function.attributes.add(attribute)
        b = ir.IRBuilder(function.append_basic_block("entry"))
        given = [Int(b, value) for value in function.args]
        kinds = zip(self.arguments, given, strict=True)
        self.write(Kernel(b, [x.as_pointer() if name[0] == "*" else x for name, x in kinds]), *literals)
        b.ret_void()
        return function


def is_literal(*arguments: Any) -> bool:
    """Whether all of these Numba types are integers known when the code is compiled."""
    return all(isinstance(argument, types.IntegerLiteral) for argument in arguments)


def _check_name(write: Callable[..., None]) -> None:
    """Two functions that are made inside another have one name, whatever they close over."""
    if "<" in write.__qualname__:
        raise TypeError(
            f"{write.__qualname__} is defined inside another function; expected one at the top of a module, "
            "whose name is its own. Make what it closes over a literal argument."
        )


def private_function(declaration: str) -> Callable[[Callable[..., None]], PrivateFunction]:
    """A function for ``Kernel.call``, declared as a ``kernel`` is."""
    return lambda write: PrivateFunction(write, declaration)


def kernel(declaration: str) -> Callable[[Callable[..., None]], Any]:
    """Make a function that writes code one that ``@njit`` code calls; see the top of this file."""

    def decorate(write: Callable[..., None]) -> Any:
        function = PrivateFunction(write, declaration)
        return _intrinsic(write, declaration, lambda f, *literals: f.call(function, literals, f.arguments))

    return decorate


def inlined(declaration: str) -> Callable[[Callable[..., None]], Any]:
    """The same, with the code right where it is called: to choose among private functions.  No stars."""

    def decorate(write: Callable[..., None]) -> Any:
        _check_name(write)
        return _intrinsic(write, declaration, write)

    return decorate


def _intrinsic(write: Callable[..., None], declaration: str, emit: Callable[..., None]) -> Any:
    literals = list(inspect.signature(write).parameters)[1:]
    names = ["typingctx", *literals, *(name.strip(" *") for name in declaration.split(","))]
    n_literals, n_arguments = len(literals), len(names) - 1 - len(literals)

    @functools.wraps(write)  # its name and module are what the cache of compiled code tells kernels apart by
    def typed(typingctx: Any, *given: Any) -> Any:
        if len(given) != n_literals + n_arguments or not is_literal(*given[:n_literals]):
            return None
        values = [literal.literal_value for literal in given[:n_literals]]

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            emit(Kernel(builder, [Int(builder, x) for x in args[n_literals:]]), *values)
            return context.get_dummy_value()

        return types.void(*given[:n_literals], *[types.intp] * n_arguments), codegen

    kind = inspect.Parameter.POSITIONAL_ONLY
    typed.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])  # type: ignore
    return intrinsic(prefer_literal=True)(typed)
