"""What our code is measured against: the same work in plain NumPy, and float64 references to check both."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from numbasgd.machine import probes
from numbasgd.simd.vector import register_bytes


def two_pass_gradient(X, y, w, b):
    """The mean gradient of the half-squared loss as NumPy writes it: X is read twice."""
    r = X @ w + b - y
    return (r @ X) / len(y), r.mean()


def buffered_gradient(X):
    """The same written with care, for one X after another of this shape: nothing is allocated in a call."""
    r, g = np.empty(len(X), X.dtype), np.empty(X.shape[1], X.dtype)

    def gradient(X, y, w, b):
        np.matmul(X, w, out=r)
        np.add(r, b, out=r)
        np.subtract(r, y, out=r)
        np.matmul(r, X, out=g)
        np.divide(g, len(r), out=g)
        return g, r.mean()

    return gradient


def gradient_error(X, y, w, b, g, gb):
    """The largest error of an entry of (g, gb), in units of roundoff of what was summed up for it."""
    n, d = X.shape
    total, scale = np.zeros(d + 1), np.zeros(d + 1)
    w64 = np.asarray(w, np.float64)
    for start in range(0, n, 8192):  # a piece at a time: a float64 copy of a large X would not fit anywhere
        rows = X[start : start + 8192].astype(np.float64)
        targets = y[start : start + 8192].astype(np.float64)
        r = rows @ w64 + b - targets
        size = np.abs(rows) @ np.abs(w64) + abs(b) + np.abs(targets)
        total += np.append(r @ rows, r.sum())
        scale += np.append(size @ np.abs(rows), size.sum())
    found = np.append(np.asarray(g, np.float64), float(gb))
    return float(np.max(np.abs(found - total / n) / (scale / n))) / (float(np.finfo(X.dtype).eps) / 2)


def fastest_read(X, n_threads):
    """A function that reads all of X once and returns its sum: the fastest of some, each tried a few times.

    NumPy's sum, on one thread alone, and vector sums that ask for memory ahead, or leave that to the hardware.
    """
    flat = X.reshape(-1)
    lanes = register_bytes() // X.itemsize
    step = probes.UNROLL * lanes
    cuts = [len(flat) * part // n_threads // step * step for part in range(n_threads)] + [len(flat)]
    parts = [flat[start:stop] for start, stop in zip(cuts[:-1], cuts[1:], strict=True)]
    pool = ThreadPoolExecutor(n_threads)

    def shared(read):
        def whole(part):
            most = len(part) // step * step
            return float(read(part[:most], 1)) + float(part[most:].sum())

        return lambda: whole(flat) if n_threads == 1 else sum(pool.map(whole, parts))

    reads = [shared(probes.make_read(lanes, ahead)) for ahead in (0, 512, 1024)]
    if n_threads == 1:
        reads.append(lambda: float(flat.sum()))

    def seconds(read):
        start = time.perf_counter()
        read()
        return time.perf_counter() - start

    return min(reads, key=lambda read: min(seconds(read) for _ in range(5)))


def numpy_loop(X, y, *, batch_size, lr, epochs, seed=0, order=None):
    """Minibatch SGD for least squares in plain NumPy: permute once an epoch, minibatches as views."""
    rng = np.random.default_rng(seed)
    w, b = np.zeros(X.shape[1], X.dtype), X.dtype.type(0)
    for epoch in range(epochs):
        rows = rng.permutation(len(y)) if order is None else order(epoch)
        Xp, yp = X[rows], y[rows]
        for start in range(0, len(y), batch_size):
            xb, yb = Xp[start : start + batch_size], yp[start : start + batch_size]
            r = xb @ w + b - yb
            w -= (lr / len(yb)) * (r @ xb)
            b -= lr * r.mean()
    return w, float(b)


def numpy_outputs(X, y, K, *, loss, batch_size, lr, epochs, seed=0, order=None):
    """Minibatch SGD with K outputs in plain NumPy, nothing allocated in a step but a few rows.

    loss : "squared" with y (n, K), or "softmax" with classes 0 to K - 1.
    """
    rng = np.random.default_rng(seed)
    n, d = X.shape
    W, b = np.zeros((d, K), X.dtype), np.zeros(K, X.dtype)
    rows_there, Z_there = np.empty((batch_size, d), X.dtype), np.empty((batch_size, K), X.dtype)
    G, numbers = np.empty_like(W), np.arange(batch_size)
    for epoch in range(epochs):
        rows = rng.permutation(n) if order is None else order(epoch)
        for start in range(0, n, batch_size):
            picked = rows[start : start + batch_size]
            m = len(picked)
            xb, Z = rows_there[:m], Z_there[:m]
            np.take(X, picked, axis=0, out=xb)
            np.matmul(xb, W, out=Z)
            Z += b
            if loss == "softmax":
                Z -= Z.max(axis=1, keepdims=True)
                np.exp(Z, out=Z)
                Z /= Z.sum(axis=1, keepdims=True)
                Z[numbers[:m], y[picked]] -= 1
            else:
                Z -= y[picked]
            np.matmul(xb.T, Z, out=G)
            G *= lr / m
            W -= G
            b -= lr * Z.mean(axis=0)
    return W, b


def torch_outputs(X, y, K, *, loss, batch_size, lr, epochs, seed=0):
    """The same as PyTorch's users write it, without a DataLoader, which costs more than the steps."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    model = torch.nn.Linear(X.shape[1], K)
    torch.nn.init.zeros_(model.weight)
    torch.nn.init.zeros_(model.bias)
    step = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(epochs):
        rows = torch.randperm(len(X))
        for start in range(0, len(X), batch_size):
            picked = rows[start : start + batch_size]
            z = model(X[picked])
            step.zero_grad()
            if loss == "softmax":
                value = torch.nn.functional.cross_entropy(z, y[picked])
            else:
                value = ((z - y[picked]) ** 2).sum(dim=1).mean() / 2
            value.backward()
            step.step()
    return model.weight.detach().numpy().T, model.bias.detach().numpy()


def mean_loss(X, y, W, b, loss):
    """The mean loss of K outputs, in float64."""
    Z = X.astype(np.float64) @ np.asarray(W, np.float64) + np.asarray(b, np.float64)
    if loss == "squared":
        return 0.5 * float(np.sum((Z - y) ** 2)) / len(y)
    top = Z.max(axis=1)
    return float(np.mean(np.log(np.exp(Z - top[:, None]).sum(axis=1)) + top - Z[np.arange(len(y)), y]))


def half_mse(X, y, w, b):
    """The loss that is trained on, in float64."""
    r = X.astype(np.float64) @ np.asarray(w, np.float64) + float(b) - y
    return 0.5 * float(r @ r) / len(y)


def marginal_epoch(fit, epochs):
    """Seconds that one more epoch takes: (t(epochs + 1) - t(1)) / epochs; and t(1)."""
    start = time.perf_counter()
    fit(1)
    middle = time.perf_counter()
    fit(epochs + 1)
    first = middle - start
    return (time.perf_counter() - middle - first) / epochs, first
