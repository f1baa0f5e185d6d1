"""Large text files through pyarrow's CSV parser, where it is installed; the result is that of ``text``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from numbasgd.data.cells import MISSING, is_missing
from numbasgd.data.layout import Layout
from numbasgd.data.read_options import Wanted

LARGE = 4 << 20  # bytes; reading less takes no longer than importing pyarrow does
_BLOCK = 1 << 20

Found = tuple[np.ndarray, np.ndarray, list[str] | None]


def is_for(file: os.PathLike[str], layout: Layout) -> bool:
    """Whether pyarrow can read the file, and sooner than NumPy does."""
    if layout.delimiter is None or layout.encoding != "utf-8-sig" or os.path.getsize(file) < LARGE:
        return False
    try:
        import pyarrow.csv  # noqa: F401
    except ImportError:
        return False
    return True


class NotForArrow(Exception):
    """There is a line that pyarrow does not like, an infinite number, or a label where the parsers differ."""


def read(file: os.PathLike[str], layout: Layout, wanted: Wanted) -> Found | None:
    """X, y and the labels, if any; None if pyarrow cannot read it as ``text`` would."""
    Xs: list[np.ndarray] = []
    ys: list[np.ndarray] = []
    labels: list[str] = []
    try:
        for X, y, some in blocks(file, layout, wanted):
            Xs.append(X)
            ys.append(y)
            labels += some or ()
    except NotForArrow:
        return None
    is_label = wanted.takes_labels and len(wanted.targets) == 1
    return np.concatenate(Xs), np.concatenate(ys), labels if is_label else None


def blocks(file: os.PathLike[str], layout: Layout, wanted: Wanted) -> Iterator[Found]:
    """The same, some rows after the other; raises ``NotForArrow``.

    Both parsers round correctly, so their numbers have the same bits.
    """
    import pyarrow as arrow
    from pyarrow import csv

    label = wanted.targets[0] if wanted.takes_labels and len(wanted.targets) == 1 else None
    columns = [*wanted.features, *(wanted.targets if label is None else [])]
    types = {str(j): arrow.float64() for j in columns}
    if label is not None:
        types[str(label)] = arrow.string()
    if layout.has_tail:
        types[str(layout.width)] = arrow.null()  # which holds nothing else
    d = len(wanted.features)
    try:
        total = os.path.getsize(file)
        with open(file, "rb") as stream:
            batches = csv.open_csv(
                stream,
                read_options=csv.ReadOptions(
                    use_threads=False,
                    block_size=_BLOCK,
                    skip_rows=layout.skip,
                    column_names=[str(j) for j in range(layout.width + layout.has_tail)],
                ),
                parse_options=csv.ParseOptions(
                    delimiter=layout.delimiter,
                    newlines_in_values=len(types) < layout.width or label is not None,
                ),
                convert_options=csv.ConvertOptions(
                    column_types=types,
                    include_columns=list(types),
                    decimal_point=layout.decimal,
                    null_values=sorted(
                        {form for text in MISSING for form in (text, text.upper(), text.title())}
                    ),
                    strings_can_be_null=True,
                ),
            )
            for batch in batches:
                X, y = _stacked(batch, range(d)), _stacked(batch, range(d, len(columns)))
                if not (_are_usable(X, wanted) and _are_usable(y, wanted)):
                    raise NotForArrow
                names = None if label is None else _labels(batch.column(len(columns)).to_pylist(), wanted)
                if wanted.progress is not None:
                    wanted.progress(min(stream.tell(), total), total, "bytes")
                yield X, y, names
    except arrow.ArrowException as error:
        raise NotForArrow from error


def _labels(labels: list[Any], wanted: Wanted) -> list[str]:
    """Labels without the spaces around them, "" for none."""
    names = {text: "" if text is None or is_missing(text) else text.strip() for text in set(labels)}
    # A quote in a label is where the parsers differ.
    if any('"' in name for name in names.values()) or ("" in names.values() and not wanted.allows_missing):
        raise NotForArrow
    return [names[text] for text in labels]


def _stacked(batch: Any, columns: range) -> np.ndarray:
    """Columns of a batch side by side, NaN for null."""
    out = np.empty((batch.num_rows, len(columns)))
    for k, j in enumerate(columns):
        out[:, k] = batch.column(j).to_numpy(zero_copy_only=False)
    return out


def _are_usable(values: np.ndarray, wanted: Wanted) -> bool:
    """Whether all that is no number is a gap that is allowed."""
    return not np.isinf(values).any() if wanted.allows_missing else bool(np.isfinite(values).all())
