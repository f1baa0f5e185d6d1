"""The source of each rung, at most 15 lines of it: the loops that its idea is in."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from importlib import import_module
from typing import Any

from numbasgd.matmul.rungs import RUNGS

MOST = 15
_CUT = "..."
# Rungs whose own function does not show it: where it is, and what the part to show begins with.
_PARTS = {
    "blocked": ("numbasgd.matmul.cpu:blocked", "for jc in"),
    "packed": ("numbasgd.matmul.gemm.loops:make_packed", "for jr in"),
}


def source_of(rung: str) -> str:
    """The source of a rung without its docstring, at most ``MOST`` lines; empty where there is none to read."""
    if rung not in RUNGS:
        return ""
    where, beginning = _PARTS.get(rung, ("", ""))
    try:
        if where:
            module, name = where.split(":")
            return part(getattr(import_module(module), name), beginning)
        return whole(RUNGS[rung].kernel("cpu"))
    except (OSError, TypeError):  # the source files are not there
        return ""


def whole(function: Callable[..., Any]) -> str:
    """A function's source without its docstring and its comments."""
    lines, tree = _parsed(function)
    first, *rest = tree.body[0].body  # type: ignore[attr-defined]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    names = [argument.arg for argument in tree.body[0].args.args]  # type: ignore[attr-defined]
    head = [f"def {function.__name__}({', '.join(names)}):"]  # its annotations would not fit beside the others
    body = lines[(rest[0] if is_docstring else first).lineno - 1 :]
    return _cut(head + body)


def part(function: Callable[..., Any], beginning: str) -> str:
    """The first loop within a function whose source begins with ``beginning``."""
    lines, tree = _parsed(function)
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.While) and lines[node.lineno - 1].strip().startswith(beginning):
            return _cut(lines[node.lineno - 1 : node.end_lineno])
    return ""


def _parsed(function: Callable[..., Any]) -> tuple[list[str], ast.Module]:
    """The lines of a function's source, compiled or not, and their syntax tree."""
    source = textwrap.dedent(inspect.getsource(getattr(function, "py_func", function)))
    return source.splitlines(), ast.parse(source)


def _cut(lines: list[str]) -> str:
    kept = textwrap.dedent("\n".join(line for line in lines if line.strip())).splitlines()
    if len(kept) <= MOST:
        return "\n".join(kept)
    last = kept[MOST - 2]
    return "\n".join([*kept[: MOST - 1], " " * (len(last) - len(last.lstrip())) + _CUT])
