"""Small intrinsics on raw memory: words, atomic operations and calls through an address.

They let compiled code keep state that outlives a call and that several threads share, and call a kernel
that was compiled on its own.  All addresses are integers and trusted.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Annotated, Any, Generic, TypeVar, get_type_hints

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from numbasgd.compile import numba_private
from numbasgd.machine import cpu

_I64 = ir.IntType(64)
_WORD = _I64.as_pointer()

intp = types.intp

LINE = 64  # bytes of a cache line
NewLine = Annotated[int, "begins a cache line"]
Record = TypeVar("Record", bound=tuple[int, ...])


def offsets(of: type[Record], **n_words: int) -> tuple[Record, int]:
    """Where the 64-bit words of a record lie: the named tuple ``of`` with their byte offsets, and its size.

    A field is one word, or as many as ``n_words`` says.  One that is annotated ``NewLine`` begins a cache line:
    words that different threads write while others wait for them must not share one.
    """
    at, places = 0, []
    for name, annotation in get_type_hints(of, include_extras=True).items():
        if annotation == NewLine:
            at = -(-at // LINE) * LINE
        places.append(at)
        at += 8 * n_words.pop(name, 1)
    assert not n_words, f"{of.__name__} has no field {', '.join(n_words)}"
    return of._make(places), at  # type: ignore[attr-defined]


@intrinsic
def read(typingctx, address):
    """The 64-bit integer at ``address``; what another thread wrote before it is visible after.

    No earlier ``write`` or ``add`` of this thread comes after it either, which "acquire" alone would allow.
    """

    def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
        return b.load_atomic(b.inttoptr(args[0], _WORD), "seq_cst", 8)

    return intp(intp), codegen


@intrinsic
def get(typingctx, address):
    """The 64-bit integer at ``address``, which no other thread writes without the interpreter's lock."""

    def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
        return b.load(b.inttoptr(args[0], _WORD))

    return intp(intp), codegen


@intrinsic
def write(typingctx, address, value):
    """Write a 64-bit integer; whoever sees it sees all that was written before."""

    def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
        b.store_atomic(args[1], b.inttoptr(args[0], _WORD), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(intp, intp), codegen


@intrinsic
def put(typingctx, address, value):
    """Write a 64-bit integer that no other thread looks at before a later ``write``."""

    def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
        b.store(args[1], b.inttoptr(args[0], _WORD))
        return context.get_dummy_value()

    return types.void(intp, intp), codegen


@intrinsic
def add(typingctx, address, value):
    """Add to a 64-bit integer in one step that no thread can come between; returns what it was."""

    def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
        return b.atomic_rmw("add", b.inttoptr(args[0], _WORD), args[1], "seq_cst")

    return intp(intp, intp), codegen


@intrinsic
def swap(typingctx, address, value):
    """Write a 64-bit integer and return what it was, in one step."""

    def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
        return b.atomic_rmw("xchg", b.inttoptr(args[0], _WORD), args[1], "seq_cst")

    return intp(intp, intp), codegen


@intrinsic
def pause(typingctx):
    """Tell the core that this is a loop that waits."""

    def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
        nothing = ir.FunctionType(ir.VoidType(), [])
        if cpu.target().is_x86:
            name = "llvm.x86.sse2.pause"
            f = b.module.globals.get(name) or ir.Function(b.module, nothing, name)
            b.call(f, [])
        elif cpu.target().is_arm:
            hint = ir.FunctionType(ir.VoidType(), [ir.IntType(32)])
            name = "llvm.aarch64.hint"
            f = b.module.globals.get(name) or ir.Function(b.module, hint, name)
            b.call(f, [ir.Constant(ir.IntType(32), 1)])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def call(typingctx, address, arguments):
    """Call the C function at ``address``: integers, or tuples of them, for arguments; it returns an integer."""
    if not isinstance(arguments, types.BaseTuple):
        return None

    def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
        values = [b.extract_value(args[1], i) for i in range(len(sig.args[1]))]
        function = ir.FunctionType(_I64, [value.type for value in values])
        return b.call(b.inttoptr(args[0], function.as_pointer()), values)

    wide = [intp if isinstance(of, types.Integer) else of for of in arguments]
    return intp(intp, types.Tuple(wide)), codegen


@intrinsic
def put_tuple(typingctx, address, values):
    """Write a tuple of integers and such tuples, which no other thread looks at before a later ``write``."""
    if not isinstance(values, types.BaseTuple):
        return None

    def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
        b.store(args[1], b.inttoptr(args[0], args[1].type.as_pointer()), align=8)
        return context.get_dummy_value()

    return types.void(intp, values), codegen


def make_get_tuple(of: Any) -> Any:
    """An intrinsic that reads what ``put_tuple`` wrote, a tuple of this Numba type."""

    @intrinsic
    def get_tuple(typingctx, address):
        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            return b.load(b.inttoptr(args[0], context.get_value_type(of).as_pointer()), align=8)

        return of(intp), codegen

    return get_tuple


def _words_of(b: Any, value: Any) -> list[Any]:
    """The integers of a tuple of integers and such tuples, in order."""
    if value.type == _I64:
        return [value]
    parts = [b.extract_value(value, i) for i in range(len(value.type))]
    return [word for part in parts for word in _words_of(b, part)]


def _tuple_of(b: Any, of: Any, words: list[Any]) -> Any:
    """The tuple of an LLVM type whose integers come next in ``words``, which are taken away."""
    if of == _I64:
        return words.pop(0)
    value = ir.Constant(of, ir.Undefined)
    for i, part in enumerate(of.elements):
        value = b.insert_value(value, _tuple_of(b, part, words), i)
    return value


def _places_of(b: Any, address: Any, n_words: int) -> list[Any]:
    """Pointers to so many 64-bit words in a row."""
    return [b.inttoptr(b.add(address, _I64(8 * i)), _WORD) for i in range(n_words)]


@intrinsic
def write_tuple(typingctx, address, values):
    """``write`` for each integer of a tuple of integers and such tuples, one after the other."""
    if not isinstance(values, types.BaseTuple):
        return None

    def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
        words = _words_of(b, args[1])
        for word, place in zip(words, _places_of(b, args[0], len(words)), strict=True):
            b.store_atomic(word, place, "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(intp, values), codegen


def make_read_tuple(of: Any) -> Any:
    """An intrinsic that reads what ``write_tuple`` wrote, with ``read`` for each integer."""

    @intrinsic
    def read_tuple(typingctx, address):
        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            llvm_type = context.get_value_type(of)
            n_words = len(_words_of(b, ir.Constant(llvm_type, ir.Undefined)))
            places = _places_of(b, args[0], n_words)
            return _tuple_of(b, llvm_type, [b.load_atomic(place, "seq_cst", 8) for place in places])

        return of(intp), codegen

    return read_tuple


@intrinsic
def is_tuple_at(typingctx, address, values):
    """Whether ``write_tuple`` wrote these values; each word is read with ``read``."""
    if not isinstance(values, types.BaseTuple):
        return None

    def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
        words, differences = _words_of(b, args[1]), _I64(0)
        for word, place in zip(words, _places_of(b, args[0], len(words)), strict=True):
            differences = b.or_(differences, b.xor(word, b.load_atomic(place, "seq_cst", 8)))
        return b.icmp_unsigned("==", differences, _I64(0))

    return types.boolean(intp, values), codegen


@intrinsic
def on_stack(typingctx, values):
    """The address of a tuple of integers and such tuples, which is there until the function returns."""
    if not isinstance(values, types.BaseTuple):
        return None

    def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
        place = numba_private.alloca_once(b, args[0].type)
        b.store(args[0], place, align=8)
        return b.ptrtoint(place, _I64)

    return intp(values), codegen


_FAILED, _DONE, _INTERRUPTED = 0, 1, 2  # how a callback ended


def callback(function: Callable[[int], None]) -> Any:
    """A C function for ``ask``: calls ``function`` from compiled code, which cannot raise.

    After an interrupt ``function`` is called once more, to be done, and must stand that.  Other errors are
    printed.  Whoever keeps the address must keep this, too.
    """

    def called(argument: int, place: int) -> None:
        how = _DONE
        while True:
            try:
                function(argument)
            except KeyboardInterrupt:
                how = _INTERRUPTED
            else:
                break
        ctypes.c_int64.from_address(place).value = how

    return ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64)(called)


@intrinsic
def ask(typingctx, address, argument):
    """Call the C function of a ``callback``; an interrupt that comes meanwhile is raised when Python is back.

    One that is older, or comes before ``called`` can catch it, is printed, and is raised all the same.
    """

    def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
        nothing = ir.VoidType()
        function = b.inttoptr(args[0], ir.FunctionType(nothing, [_I64, _I64]).as_pointer())
        place = numba_private.alloca_once(b, _I64)

        def call_it() -> ir.Value:
            b.store(_I64(_FAILED), place)
            b.call(function, [args[1], b.ptrtoint(place, _I64)])
            return b.load(place)

        first = call_it()
        asked = b.block
        with b.if_then(b.icmp_signed("==", first, _I64(_FAILED)), likely=False):
            has_failed = b.icmp_signed("==", call_it(), _I64(_FAILED))
            second = b.select(has_failed, _I64(_FAILED), _I64(_INTERRUPTED))
            asked_again = b.block
        how = b.phi(_I64)
        how.add_incoming(first, asked)
        how.add_incoming(second, asked_again)
        with b.if_then(b.icmp_signed("==", how, _I64(_INTERRUPTED)), likely=False):
            name = "PyErr_SetInterrupt"
            b.call(b.module.globals.get(name) or ir.Function(b.module, ir.FunctionType(nothing, []), name), [])
        return context.get_dummy_value()

    return types.void(intp, intp), codegen


def emit_address_of(b: Any, symbol: str) -> Any:
    """The address that ``symbol`` was given by ``define``.

    It is looked up when the code is loaded, so code that holds it can be kept between processes.
    """
    found = b.module.globals.get(symbol)
    variable = ir.GlobalVariable(b.module, _I64, symbol) if found is None else found
    return b.ptrtoint(variable, _I64)


def make_address_of(symbol: str) -> Any:
    """An intrinsic without arguments that gives the address of ``symbol``."""

    @intrinsic
    def address_of(typingctx):
        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            return emit_address_of(b, symbol)

        return intp(), codegen

    return address_of


def make_symbol_address(symbol_for: Callable[[Any, Any, Any], str | None]) -> Any:
    """An intrinsic of three arguments: the address of the symbol that ``symbol_for`` names for their types.

    symbol_for : Numba types of the arguments -> a symbol, or None where there is none; that is a typing error.
    """

    @intrinsic
    def symbol_address(typingctx, first, second, third):
        symbol = symbol_for(first, second, third)
        if symbol is None:
            return None

        def codegen(context: Any, b: Any, sig: Any, args: Any) -> Any:
            return emit_address_of(b, symbol)

        return intp(first, second, third), codegen

    return symbol_address


def define(symbol: str, address: int) -> None:
    """Give ``symbol`` an address in this process."""
    llvmlite.binding.add_symbol(symbol, address)


@functools.cache
def address_of_compiled(dispatcher: Any) -> int:
    """The address of a compiled function's only version, which takes and returns C integers.

    llvmlite has a lock of its own, and a child must not be forked while another thread holds it: whoever forks
    waits for the compiler's (see ``compile/options.py``), and this holds it.
    """
    return numba_private.address_of_compiled(dispatcher)


class State(Generic[Record]):
    """A record of 64-bit words that is never freed, and that compiled code finds by its symbol.

    at : the offsets of its words.  address : an intrinsic without arguments that gives its address.
    """

    def __init__(self, symbol: str, of: type[Record], **n_words: int) -> None:
        self.at, n_bytes = offsets(of, **n_words)
        memory = np.zeros((n_bytes + LINE) // 8, np.int64)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(memory))  # compiled threads may outlive the interpreter
        self.base = -(-memory.ctypes.data // LINE) * LINE
        self.address = make_address_of(symbol)
        define(symbol, self.base)

    def word(self, offset: int) -> ctypes.c_int64:
        """The word at an offset, to read and to write from Python."""
        return ctypes.c_int64.from_address(self.base + offset)


def address_of_c(function: Any) -> int:
    """The address of a C function that ``ctypes`` or ``callback`` gave."""
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address
