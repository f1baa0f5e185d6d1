"""Held-out rows, early stopping, callbacks, verbose, and divergence in large data."""

import numpy as np
import pytest
from conftest import held_out

from numbasgd import DivergenceError, train
from numbasgd.sgd import trainer
from numbasgd.sgd.dataset import Dataset
from numbasgd.sgd.solvers import mean_loss, objective


def half_squared(X, y, fit):
    return 0.5 * np.mean((X @ fit.w + fit.b - y) ** 2)


# Held-out rows


def test_rows_that_are_held_out_are_never_trained_on(data):
    X, y = data
    out, kept = held_out(3, 120, 24)
    options = {"lr": 0.05, "epochs": 4, "batch_size": 7, "seed": 3}
    fit = train(X, y, validation_fraction=0.2, **options)
    assert fit.n == 96
    same = train(X[kept], y[kept], **options)
    assert fit.w.tobytes() == same.w.tobytes()
    np.testing.assert_array_equal(fit.loss, same.loss)
    assert len(fit.validation_loss) == len(fit.loss)
    assert fit.validation_loss[-1] == pytest.approx(half_squared(X[out], y[out], fit), rel=1e-12)
    assert fit.validation_loss[0] == pytest.approx(0.5 * np.mean(y[out] ** 2), rel=1e-12)
    assert same.validation_loss is None
    X[out], y[out] = 1e6, -1e6
    assert train(X, y, validation_fraction=0.2, **options).w.tobytes() == fit.w.tobytes()


def test_held_out_rows_are_weighted_and_scaled_like_the_others(data, rng):
    X, y = data
    X = X * [1, 10, 0.1, 1, 1] + 3
    s = rng.uniform(0.1, 2, 120)
    out, kept = held_out(5, 120, 30)
    fit = train(X, y, validation_fraction=0.25, sample_weight=s, standardize=True, lr=0.1, seed=5)
    r = X @ fit.w + fit.b - y
    assert fit.validation_loss[-1] == pytest.approx(np.average(0.5 * r[out] ** 2, weights=s[out]), rel=1e-9)
    assert fit.loss[-1] == pytest.approx(np.average(0.5 * r[kept] ** 2, weights=s[kept]), rel=1e-9)


def test_another_seed_holds_other_rows_out(data):
    X, y = data
    first = [train(X, y, validation_fraction=0.5, lr=0.1, epochs=0, seed=seed).loss[0] for seed in range(10)]
    assert len(set(first)) == 10


# tol and patience


def epochs_until_stop(watched, tol, patience):
    """The rule, on a history of watched losses that begins at the start."""
    best, stale = watched[0], 0
    for epoch, loss in enumerate(watched[1:], 1):
        stale = 0 if loss < best - tol * abs(best) else stale + 1
        best = min(best, loss)
        if stale == patience:
            return epoch
    return len(watched) - 1


@pytest.mark.parametrize("eval_every", ["epoch", None, 7, 1000])
@pytest.mark.parametrize("fraction", [0.0, 0.25])
@pytest.mark.parametrize(("tol", "patience"), [(0.0, 1), (0.0, 3), (1e-2, 1), (1e-2, 4), (1e-6, 2)])
def test_stops_where_the_rule_says_with_the_best_weights(tol, patience, fraction, eval_every, data):
    X, y = data
    y = 10 * y  # a share of the loss is not the same number
    options = {"lr": 0.02, "batch_size": 5, "seed": 1, "validation_fraction": fraction}
    long = train(X, y, epochs=60, **options)
    watched = long.objective if fraction == 0 else long.validation_loss
    expected = epochs_until_stop(watched, tol, patience)
    best = int(np.argmin(watched[: expected + 1]))
    fit = train(X, y, epochs=60, tol=tol, patience=patience, eval_every=eval_every, **options)
    assert fit.epochs[-1] == expected
    assert fit.samples[-1] == expected * fit.n
    assert fit.w.tobytes() == train(X, y, epochs=best, **options).w.tobytes()
    assert (fit.loss[-1], fit.objective[-1]) == (long.loss[best], long.objective[best])
    if fraction:
        assert fit.validation_loss[-1] == long.validation_loss[best]
    assert 0 < expected < 60


def test_without_tol_the_last_weights_come_back(data):
    X, y = data
    fit = train(X, y, lr=0.1, batch_size=1, epochs=9, seed=1, validation_fraction=0.25)
    assert fit.epochs[-1] == 9
    assert fit.validation_loss[-1] > fit.validation_loss.min()


def test_what_is_watched_has_the_penalty_in_it(data):
    """The data term alone falls for ever so long; the objective is soon at its minimum, and rises."""
    X, y = data
    options = {"lr": 0.05, "batch_size": 120, "l2": 2.0, "l1": 0.5, "init": (np.full(5, 3.0), 0.0)}
    fit = train(X, y, epochs=300, tol=1e-4, patience=2, **options)
    assert fit.epochs[-1] < 300
    assert fit.objective[-1] == fit.objective.min()
    best = train(X, y, epochs=300, **options).objective.min()
    assert fit.objective[-1] == pytest.approx(best, rel=1e-2)


def test_averaged_weights_are_what_is_watched_and_kept(data):
    X, y = data
    options = {"lr": 0.3, "batch_size": 5, "seed": 1, "average": 1, "sample_weight": np.ones(120)}
    long = train(X, y, epochs=40, **options)
    fit = train(X, y, epochs=40, tol=1e-3, patience=2, **options)
    best = int(np.argmin(long.objective[: int(fit.epochs[-1]) + 1]))
    assert fit.w.tobytes() == train(X, y, epochs=best, **options).w.tobytes()
    assert fit.loss[-1] == long.loss[best]


def test_a_start_that_is_best_comes_back(data):
    X, y = data
    best = np.linalg.lstsq(np.column_stack([X, np.ones(120)]), y, rcond=None)[0]
    fit = train(X, y, init=(best[:5], best[5]), lr=0.1, batch_size=1, epochs=50, tol=0.0, patience=3, seed=0)
    assert fit.epochs[-1] == 3
    np.testing.assert_array_equal([*fit.w, fit.b], best)
    assert fit.loss[-1] == fit.loss[0]


# Callback and verbose


def test_a_callback_sees_each_epoch_as_it_is(data):
    X, y = data
    options = {"lr": 0.05, "batch_size": 7, "seed": 2, "validation_fraction": 0.25}
    for eval_every in ("epoch", None, 50):
        seen = []
        fit = train(X, y, epochs=4, callback=seen.append, eval_every=eval_every, **options)
        assert [then.epochs[-1] for then in seen] == [1, 2, 3, 4]
        for epochs, then in enumerate(seen, 1):
            alone = train(X, y, epochs=epochs, **options)
            assert (then.w.tobytes(), then.b) == (alone.w.tobytes(), alone.b)
            assert then.loss[-1] == alone.loss[-1]
            assert then.validation_loss[-1] == alone.validation_loss[-1]
            assert len(then.loss) == len(then.samples) == len(then.seconds) == len(then.objective)
            assert np.all(np.diff(then.samples) > 0)
            assert then.settings is not fit.settings
        assert fit.w.tobytes() == seen[-1].w.tobytes()


def test_a_callback_may_stop_the_run(data):
    X, y = data
    fit = train(X, y, lr=0.05, epochs=100, seed=0, callback=lambda fit: fit.epochs[-1] == 3)
    assert fit.epochs.tolist() == [0, 1, 2, 3]
    assert fit.w.tobytes() == train(X, y, lr=0.05, epochs=3, seed=0).w.tobytes()
    fit = train(X, y, lr=0.05, epochs=100, seed=0, eval_every=None, callback=lambda fit: np.True_)
    assert fit.epochs.tolist() == [0, 1]
    assert fit.loss[-1] == pytest.approx(half_squared(X, y, fit), rel=1e-12)


def test_an_error_in_a_callback_comes_through(data):
    with pytest.raises(ZeroDivisionError):
        train(*data, lr=0.05, callback=lambda fit: 1 / 0)


def test_verbose_is_a_line_for_each_evaluation(data, capsys):
    train(*data, lr=0.05, epochs=3, seed=0, verbose=True)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert [line.split()[:3] for line in printed.err.splitlines()] == [
        ["epoch", str(e), "loss"] for e in (1, 2, 3)
    ]
    train(*data, lr=0.05, epochs=1, seed=0, verbose=True, validation_fraction=0.25)
    assert "validation" in capsys.readouterr().err
    train(*data, lr=0.05, epochs=3, seed=0)
    assert capsys.readouterr().err == ""


# Divergence in large data


@pytest.fixture
def glances(monkeypatch):
    """Any data is large; returns the losses of parts of the rows that were asked for."""
    found = []
    some = mean_loss.Objective.mean_loss_of_some
    monkeypatch.setattr(mean_loss, "_LARGE", 0)
    monkeypatch.setattr(trainer, "_UNCHECKED", 0)
    monkeypatch.setattr(
        mean_loss.Objective, "mean_loss_of_some", lambda *args: (found.append(some(*args)), found[-1])[1]
    )
    return found


@pytest.mark.parametrize(("loss", "n"), [("squared", 1), ("squared", 700), ("softmax", 5), ("softmax", 700)])
def test_a_divergence_is_looked_for_in_some_rows_of_large_data(loss, n, rng, glances, monkeypatch):
    X = rng.standard_normal((n, 4))
    y = X[:, 0] if loss == "squared" else np.arange(n) % 3
    options = {"loss": loss, "epochs": 9, "lr": 0.01, "seed": 0, "eval_every": None}
    sparing = train(X, y, **options)
    assert len(glances) == 4  # after epochs 1, 2, 4 and 8
    assert np.all(np.isfinite(glances))
    monkeypatch.setattr(mean_loss, "_LARGE", 1 << 60)
    whole = train(X, y, **options)
    assert sparing.w.tobytes() == whole.w.tobytes() and sparing.loss.tobytes() == whole.loss.tobytes()
    assert len(glances) == 4


def test_some_rows_of_large_data_tell_of_a_divergence(data, glances):
    X, y = data
    with pytest.raises(DivergenceError) as caught:
        train(X, y, lr=1.5, batch_size=1, epochs=100, seed=0, eval_every=None)
    assert len(glances) < 4
    assert "after 100 epochs" not in str(caught.value)
    assert np.all(np.isfinite(caught.value.w))


@pytest.mark.parametrize("fraction", [0.0, 0.25])
def test_the_best_weights_so_far_are_found_again(data, glances, monkeypatch, fraction):
    """With their loss over all rows, though only some were looked at."""
    X, y = data
    options = {"lr": [0.02] * 4 + [1.5] * 4, "batch_size": 1, "epochs": 8, "seed": 0, "eval_every": None}
    options["validation_fraction"] = fraction
    with pytest.raises(DivergenceError) as sparing:
        train(X, y, **options)
    assert len(glances) >= 3
    monkeypatch.setattr(mean_loss, "_LARGE", 1 << 60)
    with pytest.raises(DivergenceError) as whole:
        train(X, y, **options)
    assert sparing.value.w.tobytes() == whole.value.w.tobytes()
    assert str(sparing.value) == str(whole.value)


def test_what_some_rows_tell_of_is_looked_for_in_all(data, monkeypatch):
    """Some rows alone end no run."""
    X, y = data
    options = {"lr": 0.1, "epochs": 5, "seed": 0, "eval_every": None}
    expected = train(X, y, **options)
    asked = []
    monkeypatch.setattr(mean_loss, "_LARGE", 0)
    monkeypatch.setattr(trainer, "_UNCHECKED", 0)
    monkeypatch.setattr(mean_loss.Objective, "mean_loss_of_some", lambda *args: (asked.append(1), np.nan)[1])
    assert train(X, y, **options).w.tobytes() == expected.w.tobytes()
    assert len(asked) == 3  # after epochs 1, 2 and 4


@pytest.mark.parametrize("n", [1, 15, 16, 17, 1000])
def test_some_rows_are_evenly_spread(n, rng, monkeypatch):
    monkeypatch.setattr(mean_loss, "_GLANCED", 16 * 10 * 11)
    blocks = []
    monkeypatch.setattr(
        objective.OneOutput, "_sum_blocks", lambda self, row, found: (blocks.extend(found), 0.0)[1]
    )
    rows = Dataset(rng.standard_normal((n, 3)), np.zeros(n), np.zeros(0))
    objective.make_objective(rows, "squared").mean_loss_of_some(np.zeros(8))
    assert len(blocks) == min(n, 16)
    assert {stop - start for start, stop in blocks} == {min(n, 10)}
    assert blocks[0][0] == 0 and blocks[-1][1] == n
    steps = np.diff([start for start, _ in blocks])
    assert n == 1 or np.ptp(steps) <= 1
