"""Orders are permutations, known from (seed, epoch) alone, and uniform."""

import numpy as np
import pytest
from conftest import says

from numbasgd import epoch_order


@pytest.mark.parametrize("n", [1, 2, 3, 10, 511, 512, 513, 1500, 5000])
def test_every_row_once(n):
    order = epoch_order(1, 0, n)
    assert order.dtype == np.int64
    assert sorted(order) == list(range(n))


def test_seeds_and_epochs_give_other_orders():
    seen = {epoch_order(seed, epoch, 50).tobytes() for seed in range(20) for epoch in range(20)}
    assert len(seen) == 400


def test_an_order_needs_no_order_before_it():
    assert epoch_order(3, 41, 100).tolist() == epoch_order(3, 41, 100).tolist()
    once = {epoch_order(3, e, 100, "once").tobytes() for e in range(5)}
    assert once == {epoch_order(3, 0, 100).tobytes()}
    assert epoch_order(3, 1, 5, "sequential").tolist() == [0, 1, 2, 3, 4]


def chi_squared(counts):
    expected = counts.sum() / counts.size
    return float(np.sum((counts - expected) ** 2 / expected))


def limit(freedom):
    """A chi-squared value that chance exceeds once in about 10^5 (Wilson and Hilferty's cube)."""
    return freedom * (1 - 2 / (9 * freedom) + 4.3 * np.sqrt(2 / (9 * freedom))) ** 3


@pytest.mark.parametrize("n", [2, 3, 5, 8, 13, 50])
@pytest.mark.parametrize("vary", ["epoch", "seed"])
def test_positions_and_pairs_are_uniform(n, vary):
    draws = 300 * n
    orders = np.array([epoch_order(*((0, t) if vary == "epoch" else (t, 0)), n) for t in range(draws)])
    positions = np.zeros((n, n))
    for position in range(n):
        positions[position] = np.bincount(orders[:, position], minlength=n)
    assert chi_squared(positions) < limit((n - 1) ** 2)
    follows = np.zeros((n, n))
    np.add.at(follows, (orders[:, :-1].ravel(), orders[:, 1:].ravel()), 1)
    pairs = follows[~np.eye(n, dtype=bool)]
    assert chi_squared(pairs) < limit(n * (n - 1) - 1 if n > 2 else 1)


def test_all_orders_of_four_are_equally_likely():
    orders = np.array([epoch_order(9, t, 4) for t in range(24 * 400)])
    codes = orders @ [64, 16, 4, 1]
    _, counts = np.unique(codes, return_counts=True)
    assert len(counts) == 24
    assert chi_squared(counts) < limit(23)


def test_replacement_draws_every_row_equally_often():
    counts = sum(np.bincount(epoch_order(1, t, 20, "replacement"), minlength=20) for t in range(1000))
    assert chi_squared(counts) < limit(19)
    assert max(np.bincount(epoch_order(1, 0, 20, "replacement"))) > 1


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        ((-1, 0, 5), ("seed is -1", "expected")),
        ((0, -1, 5), ("epoch is -1", "expected")),
        ((0, 0, 0), ("n is 0", "expected")),
        ((0, 0, 5, "random"), ("sampling is 'random'", "expected")),
    ],
)
def test_bad_input(args, parts):
    with pytest.raises(ValueError) as caught:
        epoch_order(*args)
    says(caught.value, *parts)
