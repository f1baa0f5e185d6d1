"""How a text file holds its table: encoding, delimiter, decimal sign, header; what was guessed is told."""

from __future__ import annotations

import codecs
import csv
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TextIO

from numbasgd.data.cells import is_missing, number, quoted
from numbasgd.data.read_options import ReadOptions
from numbasgd.errors import DataError

_DELIMITERS = ("\t", ";", "|", ",")  # a comma may be a decimal one, so it comes last; without any, white space
_SNIFFED = 20  # lines that are looked at to find the delimiter
#: Marks of the byte order at the start of a file, the longer ones first, and the encodings that they tell.
MARKS = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+([eE][-+]?\d+)?")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(,\d{3})+")
_SEP_LINE = re.compile(r"sep=(.)\s*")  # what Excel takes as the delimiter of all that follows


class Layout(NamedTuple):
    """How the text of a file is to be read.

    skip : lines before the first row.  width : cells a row.  has_tail : each line ends with a delimiter, behind
    which there is no cell.
    """

    encoding: str
    delimiter: str | None
    decimal: str
    names: list[str]
    skip: int
    width: int
    has_tail: bool
    notes: list[str]


def find_layout(file: os.PathLike[str], options: ReadOptions) -> Layout:
    """What the user said of the file, and for the rest what its bytes and first lines tell."""
    notes: list[str] = []
    encoding = _encoding(file, options.encoding, notes)
    with open_text(file, encoding) as stream:
        sample = list(itertools.islice((line for line in stream if line.strip()), _SNIFFED))
    told = _SEP_LINE.fullmatch(sample[0]) if sample else None
    delimiter = options.separator
    if options.delimiter is None:
        delimiter = told[1] if told else _sniff(sample)
    heads, marked, first_line = _heads(file, encoding, delimiter, bool(told))
    (line, first), rest = heads[0], [cells for _, cells in heads[1:]]
    has_tail = len(first) > 2 and all(len(cells) == len(first) and not cells[-1] for _, cells in heads)
    if has_tail:
        first, rest, marked = first[:-1], [cells[:-1] for cells in rest], marked[: len(first) - 1]
    decimal = options.decimal or _decimal([first, *rest], delimiter, notes)
    names = first if _is_header(first, rest, decimal, options.header, line, notes) else []
    if names and not rest:
        raise DataError(
            f"{file} has column names in line {line} but no rows after it; expected a row of numbers a line. "
            "Add some."
        )
    skip = line if names else first_line
    if not names and len(marked) == len(first):
        names = marked
    if not names and options.header == "auto":
        notes.append(
            f"{file} has no names of columns: line {line} is read as a row, and columns are called by position."
            " If it is a header of numbers, say header='yes'; header='no' says that it is none."
        )
    width = len(names or first)
    return Layout(encoding, delimiter, decimal, names, skip, width, has_tail, notes)


def open_text(file: os.PathLike[str], encoding: str) -> TextIO:
    """Open as text; what cannot be decoded cannot be a number, and is told like any other bad cell."""
    return open(file, encoding=encoding, errors="replace", newline="")


def records(
    file: os.PathLike[str], lines: Iterable[str], delimiter: str | None
) -> Iterator[tuple[int, list[str]]]:
    """The line and the cells of every record that is not blank."""
    if delimiter is None:
        for line, row in enumerate(lines, 1):
            if row.strip():
                yield line, row.split()
        return
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    try:
        for cells in reader:
            if len(cells) > 1 or (cells and cells[0].strip()):
                yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(
            f"{file}, line {reader.line_num}: {error}; expected cells with a delimiter between them. "
            "Check the quotes."
        ) from error


def _encoding(file: os.PathLike[str], given: str | None, notes: list[str]) -> str:
    """The encoding by the mark at the start of the file, or UTF-8 if it is, else Windows-1252."""
    with open(file, "rb") as stream:
        start = stream.read(4)
        if given is None:
            for mark, name in MARKS.items():
                if start.startswith(mark):
                    return name
        elif codecs.lookup(given).name in ("utf-8", "utf-8-sig"):
            given = "utf-8-sig"  # which takes files without its mark too
        stream.seek(0)
        decoder = codecs.getincrementaldecoder(given or "utf-8")()
        try:
            while block := stream.read(1 << 20):
                if given is not None or not block.isascii() or decoder.getstate()[0]:
                    decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeError as error:
            if given is not None:
                raise DataError(
                    f"{file} is not {given} text ({_reason(error)}); expected the encoding that it was written "
                    "in. Pass another encoding, or none."
                ) from None
            notes.append(f"{file} is not UTF-8 text; it was read as Windows-1252. encoding='...' says another.")
            return "cp1252"
    return given or "utf-8-sig"


def _reason(error: UnicodeError) -> str:
    if not isinstance(error, UnicodeDecodeError):
        return str(error)
    return f"{error.reason}, bytes {error.object[error.start : error.end]!r}"


def _sniff(sample: list[str]) -> str | None:
    """The delimiter that cuts all lines into equally many cells, else the one that is in most lines."""
    for delimiter in _DELIMITERS:
        try:
            counts = {len(cells) for cells in csv.reader(sample, delimiter=delimiter)}
        except csv.Error:
            continue
        if len(counts) == 1 and counts != {1}:
            return delimiter
    for delimiter in _DELIMITERS:
        if 2 * sum(delimiter in line for line in sample) > len(sample):
            return delimiter
    return None


def _heads(
    file: os.PathLike[str], encoding: str, delimiter: str | None, has_sep_line: bool
) -> tuple[list[tuple[int, list[str]]], list[str], int]:
    """The first records with their lines, the cells of the last line with a ``#`` before them, and its line.

    ``np.savetxt(header=...)`` writes the names of the columns behind a ``#``.
    """
    marked: list[str] = []
    heads: list[tuple[int, list[str]]] = []
    before = 0
    with open_text(file, encoding) as stream:
        for line, raw in records(file, stream, delimiter):
            cells = [cell.strip() for cell in raw]
            if not heads and (cells[0].startswith("#") and not is_missing(cells[0])):
                cells[0] = cells[0].lstrip("#").strip()
                marked = cells[1:] if delimiter is None and not cells[0] else cells
                before = line
            elif has_sep_line and not heads and not before and cells[0].startswith("sep="):
                before = line
            else:
                heads.append((line, cells))
                if len(heads) > _SNIFFED:
                    break
    if not heads:
        raise DataError(f"{file} has no rows; expected a row of numbers a line. Add some.")
    return heads, marked, before


def _decimal(rows: list[list[str]], delimiter: str | None, notes: list[str]) -> str:
    """The decimal sign: a comma if numbers have one, none has a point, and it cannot be one of thousands."""
    if delimiter == ",":
        return "."
    cells = [cell for cells in rows for cell in cells]
    commas = [cell for cell in cells if _DECIMAL_COMMA.fullmatch(cell)]
    has_point = any("." in cell and number(cell) is not None for cell in cells)
    clear = [cell for cell in commas if not _THOUSANDS.fullmatch(cell)]
    if not clear or has_point:
        return "."
    notes.append(f"numbers such as {clear[0]!r} are read with a decimal comma; decimal='.' says otherwise.")
    return ","


def _is_header(
    first: list[str], rest: list[list[str]], decimal: str, given: str, line: int, notes: list[str]
) -> bool:
    """Whether the first line names the columns.

    It does if no cell of it is a number, and also if one is text, and all below it in the file's first lines
    are numbers; that is told, since it may be a wrong cell.
    """
    if given != "auto":
        return given == "yes"
    is_text = [number(cell, decimal) is None for cell in first]
    if all(is_text) and not all(is_missing(cell) for cell in first):
        return True
    for j, cell in enumerate(first):
        if not is_text[j] or is_missing(cell):
            continue
        below = [cells[j] for cells in rest if j < len(cells) and not is_missing(cells[j])]
        if below and all(number(each, decimal) is not None for each in below):
            notes.append(
                f"line {line} is read as the names of the columns, though some are numbers, since column {j} "
                f"is {quoted(cell)} there and holds numbers below. If it is a row, say header='no'."
            )
            return True
    return False
