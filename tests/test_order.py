"""Orders are permutations, known from (seed, epoch) alone, and uniform."""

import numpy as np
import pytest
from child import run_python
from conftest import says

from numbasgd import epoch_order
from numbasgd.sgd.order import MOST_ROWS, ORDER_CHUNK, SAMPLINGS, fill_order, make_scatter, scatter_for

# above a chunk, where an order is computed and not shuffled: powers of two and neighbours, primes, squares
LONG = [4097, 4099, 5000, 8191, 8192, 8193, 65535, 65536, 65537, 99_991, 100_489, 262_144, 299_993, 300_000]


@pytest.mark.parametrize("n", [1, 2, 3, 10, 511, 512, 513, 1500, 4095, 4096, *LONG])
def test_every_row_once(n):
    order = epoch_order(1, 0, n)
    assert order.dtype == np.int64
    assert np.array_equal(np.sort(order), np.arange(n))
    assert n < 10 or not np.array_equal(order, np.arange(n))


def test_the_network_makes_a_permutation_of_any_length():
    for n in range(1, 700):
        order = np.empty(n, np.int32)
        for epoch in range(3):
            make_scatter("int32")(order.ctypes.data, n, n, 5, epoch, 0)
            assert np.array_equal(np.sort(order), np.arange(n)), n


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("n", [4097, 65536, 99_991])
def test_any_part_of_an_order_is_known_alone(n, sampling, dtype):
    whole = epoch_order(2**63 - 1, 7, n, sampling)
    for first, count in [
        (0, 1),
        (0, ORDER_CHUNK),
        (1, 13),
        (n - ORDER_CHUNK, ORDER_CHUNK),
        (n - 1, 1),
        (n // 2, 100),
    ]:
        part = np.empty(count, dtype)
        fill_order(part, n, SAMPLINGS[sampling], 2**63 - 1, 7, first, scatter_for(part.dtype, n))
        assert np.array_equal(part, whole[first : first + count])


def part_of(n, first, count, dtype=np.int64):
    part = np.empty(count, dtype)
    fill_order(part, n, SAMPLINGS["reshuffle"], 3, 1, first, scatter_for(part.dtype, n))
    return part


@pytest.mark.parametrize("count", [300_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("n", [2**31 - 1, 2**31, 2**31 + 1, 3 * 2**32 + 5, 2**47 + 1, MOST_ROWS])
def test_orders_of_more_rows_than_memory_holds(n, count):
    """No row twice, none that does not exist; all parts of 0..n-1 as often, and of steps between rows."""
    k = 1000
    order = np.concatenate([part_of(n, first, count // 2) for first in (0, n - count // 2)])
    assert order.min() >= 0
    assert order.max() < n
    assert len(np.unique(order)) == count
    for found in (order, np.diff(order) % n):
        cells = (found // (n / k)).astype(int).clip(max=k - 1)
        assert chi_squared(np.bincount(cells, minlength=k)) < limit(k - 1)
    if n < 2**31:
        assert np.array_equal(part_of(n, 0, count // 2, np.int32), order[: count // 2])


def test_seeds_and_epochs_give_other_orders():
    seen = {epoch_order(seed, epoch, 50).tobytes() for seed in range(20) for epoch in range(20)}
    assert len(seen) == 400


def test_an_order_needs_no_order_before_it():
    """The same alone in a new process as at the end of many orders here; the last epoch is no exception."""
    for epoch in range(42):
        last = epoch_order(3, epoch, 100)
    alone = run_python("import numbasgd; print(numbasgd.epoch_order(3, 41, 100).tolist())")
    assert alone.strip() == str(last.tolist())
    assert sorted(epoch_order(2**63 - 1, 2**63 - 1, 100)) == list(range(100))


def test_orders_once_and_sequential():
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


def cells(n, count):
    """Which of ``count`` cells each of n numbers is in, and the numbers in each cell."""
    cell = np.arange(n) * count // n
    return cell, np.bincount(cell, minlength=count)


def uneven(counts, shares):
    expected = counts.sum() * shares / shares.sum()
    return float(np.sum((counts - expected) ** 2 / expected))


@pytest.mark.parametrize("vary", ["epoch", "seed"])
@pytest.mark.parametrize("n", [1500, 4097, 5000, 8192])
def test_positions_and_pairs_of_long_orders_are_uniform(n, vary):
    """In 40 x 40 cells, pairs of positions at distances that the network's two halves might betray."""
    draws, k = 500, 40
    orders = np.array([epoch_order(*((0, t) if vary == "epoch" else (t, 0)), n) for t in range(draws)])
    cell, sizes = cells(n, k)
    rows = cell[orders]
    positions = np.bincount((cell * k + rows).ravel(), minlength=k * k)
    assert uneven(positions, np.outer(sizes, sizes).ravel()) < limit((k - 1) ** 2)
    pairs = (np.outer(sizes, sizes) - np.diag(sizes)).ravel()
    for distance in (1, 2, 64, 128, n // 2):
        found = np.bincount((rows[:, :-distance] * k + rows[:, distance:]).ravel(), minlength=k * k)
        assert uneven(found, pairs) < limit(k * k - 1), distance
        steps = (orders[:, distance:] - orders[:, :-distance]) % n
        counts = np.bincount(steps.ravel(), minlength=n)
        assert counts[0] == 0
        assert chi_squared(counts[1:]) < limit(n - 2), distance


@pytest.mark.parametrize("n", [1500, 4097])
def test_orders_of_different_epochs_and_seeds_know_nothing_of_each_other(n):
    k = 40
    cell, sizes = cells(n, k)
    orders = {(s, e): cell[epoch_order(s, e, n)] for s in range(20) for e in range(20)}
    shares = np.outer(sizes, sizes).ravel()
    for ds, de in [(0, 1), (1, 0), (1, 1), (1, -1)]:
        counts = np.zeros(k * k)
        for (s, e), one in orders.items():
            if (s + ds, e + de) in orders:
                counts += np.bincount(one * k + orders[s + ds, e + de], minlength=k * k)
        assert uneven(counts, shares) < limit((k - 1) ** 2)


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
        ((0, 10**30, 5), (f"epoch is {10**30}", f"expected an integer from 0 to {2**63 - 1}", "counted from")),
        ((0, 0, 2**63), (f"n is {2**63}", "expected an integer from 1 to", "Pass the number")),
        ((2**63, 0, 5), (f"seed is {2**63}", "expected", "Pass the seed")),
        ((0, 0, 5, "random"), ("sampling is 'random'", "expected")),
    ],
)
def test_bad_input(args, parts):
    with pytest.raises(ValueError) as caught:
        epoch_order(*args)
    says(caught.value, *parts)
