"""The two products of a step of few outputs: every cut of them, against NumPy and at forbidden pages."""

import numpy as np
import pytest
from child import run_python

from numbasgd import train
from numbasgd.sgd.solvers import multi_buffers, multi_transposed

slow = pytest.mark.slow
PRODUCT = multi_transposed.MOST + 1  # as many outputs go through the product
CUTS = [
    (10, "float32"),
    *(
        pytest.param(K, dtype, marks=pytest.mark.exhaustive(of=12))
        for K in (2, 4, 5, 6, 7, 8, 11, 13, 16, 19, multi_transposed.MOST, PRODUCT)
        for dtype in ("float32", "float64")
    ),
]


@pytest.mark.parametrize(("K", "dtype"), CUTS)
def test_nothing_is_read_or_written_outside_the_arrays(K, dtype):
    """Gradient and loss in memory of exactly the sizes that are asked for, and right there."""
    run_python(f"""
        import numpy as np
        from guard import guarded
        from numbasgd.sgd.solvers.multi import gradient_sum
        from numbasgd.sgd.dataset import Dataset
        from numbasgd.sgd.solvers.objective import make_objective
        rng = np.random.default_rng(0)
        for n, d in ((20, 20), (45, 33), (300, 64), (37, 103), (5, 40), (40, 7)):
            for at_end in (True, False):
                X, y = (guarded(s, {dtype!r}, at_end=at_end) for s in ((n, d), (n,)))
                X[:], y[:] = rng.standard_normal((n, d)), rng.integers(0, {K}, n)
                objective = make_objective(Dataset(X, y, np.empty(0, X.dtype), {K}), "softmax")
                length = objective.layout.length
                state = guarded((1, length), {dtype!r}, at_end=at_end)
                objective.layout.put(state[0], rng.standard_normal((d + 1, {K})) / max(1, d))
                work = guarded((objective.scratch_size,), {dtype!r}, at_end=at_end)
                wide = guarded((length,), float, at_end=at_end)
                work[:], wide[:] = (0 if {K} == {PRODUCT} else np.nan), np.nan
                orders = [np.empty(0, np.int32), guarded((n,), np.int32, at_end=at_end)]
                orders[1][:] = rng.permutation(n)
                W = objective.layout.take(state[0]).astype(float)
                Z = X.astype(float) @ W[:-1] + W[-1]
                parts = np.exp(Z)
                total = parts.sum(axis=1)
                there = y.astype(int)
                R = parts / total[:, None] - np.eye({K})[there]
                truth = np.vstack([X.T.astype(float) @ R, R.sum(axis=0)])
                for order in orders:
                    G = gradient_sum(objective, state, order, n, work, wide)
                    assert np.allclose(G, truth, rtol=0, atol=(1e-4 if X.itemsize == 4 else 1e-11))
                    padding = work[:length].reshape(d + 1, -1)[:, {K}:]
                    assert not padding.any()
                loss = np.mean(np.log(total) - Z[np.arange(n), there])
                assert np.isclose(objective.mean_loss(state[0]), loss, rtol=1e-5)
    """)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
def test_every_cut_fits(dtype, lanes):
    """Into the padded rows of Z, the lanes of a vector, and the tables."""
    for K in range(2, multi_transposed.MOST + 1):
        width = -(-K // lanes) * lanes
        N, R, F, KB, NV, Q = multi_transposed.tiles_for(K, width, np.dtype(dtype))
        assert min(N, R, F, KB, NV) >= 1 and Q >= 0
        assert N <= multi_transposed.products[np.dtype(dtype)].gemm.tiles.lanes
        assert -(-K // N) * N <= width
        assert R <= 8 and F <= 8 and Q <= min(NV, 5)
        assert multi_buffers.fixed_k(K) == K


def test_blocks_of_a_step_do_not_depend_on_where_a_call_ends(rng):
    X = rng.standard_normal((400, 784)).astype(np.float32)
    y = rng.integers(0, 10, 400)
    options = {"loss": "softmax", "batch_size": 128, "lr": 0.1, "seed": 1}
    whole = train(X, y, epochs=2, **options)
    pieces = train(X, y, epochs=2, eval_every=100, **options)
    assert whole.w.tobytes() == pieces.w.tobytes()
