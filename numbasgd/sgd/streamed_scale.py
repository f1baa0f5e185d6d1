"""``StreamedScale``: the scale of columns from one pass over rows that do not fit in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from numbasgd.sgd.rows import rows_of
from numbasgd.sgd.scale import Scale
from numbasgd.sgd.scale_kernels import column_squares, column_sums

if TYPE_CHECKING:
    from numbasgd.sgd.streamed_dataset import StreamedDataset


class StreamedScale(Scale):
    """Mean and standard deviation of all rows.

    Sums are made of deviations from the mean of a sample, which is so near the mean of all rows that one pass
    loses no digits (Chan, Golub, LeVeque, "Algorithms for computing the sample variance", The American
    Statistician 37, 1983, equation 1.6).
    """

    def __init__(self, dataset: StreamedDataset, intercept: bool, known: np.ndarray | None = None) -> None:
        """``known`` : (2, d) mean and standard deviation of a run that is resumed."""
        if known is not None:
            self.mean, self.std = known
            return
        d = dataset.d
        shift = np.zeros(d)
        if intercept:
            X = dataset.sample().X
            shift = X.mean(axis=0, dtype=np.float64)
            is_same = (X == X[0]).all(axis=0)
            shift[is_same] = X[
                0, is_same
            ]  # from which a constant column has no deviation, not even of rounding
        sums, squares, count = np.zeros(d), np.zeros(d), 0.0
        for _, buffer, n in dataset.groups():
            rows, weights = rows_of(buffer.X[:n]), buffer.s[:n].astype(np.float64)
            column_squares(rows, shift, weights, squares)
            if intercept:
                column_sums(rows, weights, sums)
            count += float(weights.sum()) if weights.size else n
        self.mean = shift
        variance = squares / count
        if intercept:
            is_varied = squares > 0
            mean = np.where(is_varied, sums / count, shift)
            variance = np.maximum(variance - np.square(mean - shift), 0.0)
            self.mean = mean
        self.std = np.sqrt(variance)
        self.std[self.std == 0] = 1.0
