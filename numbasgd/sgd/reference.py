"""Minibatch SGD in thirty lines of NumPy: what ``train`` computes, and what the tests compare it with."""

from __future__ import annotations

from typing import Any

import numpy as np

from numbasgd.sgd.block_order import block_order, blocks_for
from numbasgd.sgd.config import TrainConfig
from numbasgd.sgd.losses import loss_named, softmax
from numbasgd.sgd.order import epoch_order
from numbasgd.sgd.schedule import EPOCHS, factors


def reference(
    X: np.ndarray, y: np.ndarray, sample_weight: Any = None, start: Any = 0.0, **settings: Any
) -> np.ndarray:
    """Weights (d + 1, K) after minibatch SGD, the intercepts as the last row; in float64.

    X : (n, d).  y : (n,), (n, K), or classes: -1 and 1, or 0 to K - 1 for softmax.
    start : weights to begin with, of that shape or one that broadcasts to it.
    settings : those of ``TrainConfig`` that say how steps are made; ``lr`` is not "auto", and ``schedule`` not
    "restarts".
    """
    config = TrainConfig(**settings)
    lrs: Any = config.rates
    spans = EPOCHS
    mu, m, seed = config.momentum, int(config.batch_size), config.seed or 0
    n, d = X.shape
    if config.schedule not in (None, "constant"):
        values, spans = factors(config.schedule, n, m, 0, config.limit)
        lrs = lrs * values
    s = np.ones(n) if sample_weight is None else np.asarray(sample_weight) / np.mean(sample_weight)
    A = np.column_stack([X.astype(np.float64), np.ones(n)])
    slope: Any = loss_named(config.loss_key).slope
    Y = y.reshape(n, -1).astype(np.float64) if slope else np.eye(y.max() + 1)[y]
    V = np.zeros((d + 1, Y.shape[1]))
    W = mean = V + start
    slope_of = np.vectorize(slope) if slope else lambda Z, Y: softmax(Z) - Y
    first = {False: np.inf, True: 0}[config.average] if type(config.average) is bool else config.average
    steps = 0
    for epoch in range(config.limit):
        if config.sampling == "block":
            order = block_order(seed, epoch, n, blocks_for(d, X.dtype, config.window))
        else:
            order = epoch_order(seed, epoch, n, config.order)
        for at in range(0, n, m):
            rows, lr = order[at : at + m], lrs[spans.entry(epoch, at, len(lrs))]
            G = A[rows].T @ (s[rows, None] * slope_of(A[rows] @ W, Y[rows])) / len(rows)
            G[:-1] += config.l2 * W[:-1]
            G[-1] *= config.intercept
            V = mu * V + G
            W = W - lr * (G + mu * V if config.nesterov else V)
            W[:-1] = np.sign(W[:-1]) * np.maximum(np.abs(W[:-1]) - lr * config.l1, 0)
            steps += epoch >= first  # in the mean
            mean = mean + (W - mean) / steps if steps else W
    return mean if config.average is not False else W
