"""Sums over columns and scaled columns, in one pass over the rows each, by ``scale.py``.

rows : as ``rows.Rows``, float32 or float64, in.  mean, std : (d,) float64, in.  Sums run down a column in the
order of the rows and nothing is contracted, so that they are NumPy's to the last bit.
"""

from __future__ import annotations

from numbasgd.compile.options import jit

_BLOCK = 256  # rows of which columns are walked where an entry's neighbour is in the row below


@jit(fastmath=False)
def column_sums(rows, weights, total):
    """total[j] += the sum of weight_i * x_ij; weights (n,) float64, or of length 0; total (d,) float64."""
    memory, n, d, base, si, sj = rows
    is_weighted = weights.shape[0] > 0
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        if sj == 1:
            for i in range(start, stop):
                share = weights[i] if is_weighted else 1.0
                at = base + i * si
                for j in range(d):
                    total[j] += memory[at + j] * share
        else:
            for j in range(d):
                for i in range(start, stop):
                    share = weights[i] if is_weighted else 1.0
                    total[j] += memory[base + i * si + j * sj] * share


@jit(fastmath=False)
def column_squares(rows, mean, weights, total):
    """total[j] += the sum of weight_i * (x_ij - mean_j)^2; as ``column_sums``."""
    memory, n, d, base, si, sj = rows
    is_weighted = weights.shape[0] > 0
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        if sj == 1:
            for i in range(start, stop):
                share = weights[i] if is_weighted else 1.0
                at = base + i * si
                for j in range(d):
                    r = memory[at + j] - mean[j]
                    total[j] += r * r * share
        else:
            for j in range(d):
                for i in range(start, stop):
                    share = weights[i] if is_weighted else 1.0
                    r = memory[base + i * si + j * sj] - mean[j]
                    total[j] += r * r * share


@jit(fastmath=False)
def scale_rows(rows, mean, std, out):
    """out[i, j] := (x_ij - mean_j) / std_j; out (n, d) in the dtype of the rows, and perhaps their memory."""
    memory, n, d, base, si, sj = rows
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        if sj == 1:
            for i in range(start, stop):
                at = base + i * si
                for j in range(d):
                    out[i, j] = (memory[at + j] - mean[j]) / std[j]
        else:
            for j in range(d):
                for i in range(start, stop):
                    out[i, j] = (memory[base + i * si + j * sj] - mean[j]) / std[j]
