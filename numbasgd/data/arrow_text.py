"""Large text files through pyarrow's CSV parser, where it is installed; the result is that of ``text``."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from numbasgd.data.cells import MISSING
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


def read(file: os.PathLike[str], layout: Layout, wanted: Wanted) -> Found | None:
    """X, y and the labels, if any; None if there is a line that pyarrow does not like, or an infinite number.

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
    parts, labels = [], []
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
                part = np.empty((batch.num_rows, len(columns)))
                for k in range(len(columns)):
                    part[:, k] = batch.column(k).to_numpy(zero_copy_only=False)
                parts.append(part)
                if label is not None:
                    labels += batch.column(len(columns)).to_pylist()
                if wanted.progress is not None:
                    wanted.progress(min(stream.tell(), total), total, "bytes")
    except arrow.ArrowException:
        return None
    table = np.concatenate(parts)
    d = len(wanted.features)
    if not _is_usable(table, labels, wanted):
        return None
    told = None if label is None else [(text or "").strip() for text in labels]
    return table[:, :d].copy(), table[:, d:].copy(), told


def _is_usable(table: np.ndarray, labels: list[Any], wanted: Wanted) -> bool:
    """Whether all of it is as ``text`` would read it; a quote in a label is where the parsers differ."""
    if any(text is not None and '"' in text for text in labels):
        return False
    if wanted.allows_missing:
        return not np.isinf(table).any()
    return bool(np.isfinite(table).all()) and None not in labels
