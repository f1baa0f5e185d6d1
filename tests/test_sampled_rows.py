"""What looks at a sample of rows that stay in a file, or says that it takes rows in memory alone."""

import json

import numpy as np
import pytest

from numbasgd import best_batch_size, gradient, gradient_noise, train, write_shards
from numbasgd.cli import main
from numbasgd.sgd import streamed_dataset


@pytest.fixture
def problem(rng, tmp_path, monkeypatch):
    """Rows in memory, their targets, and the path of the rows, of which at most 2,048 make a sample."""
    monkeypatch.setattr(streamed_dataset, "_SAMPLE_ENTRIES", 0)
    X = rng.standard_normal((6000, 4)).astype(np.float32)
    y = (X @ [1, 2, 3, 4] + rng.standard_normal(6000)).astype(np.float32)
    np.save(tmp_path / "X.npy", X)
    return X, y, tmp_path / "X.npy"


def test_noise_from_a_sample(problem):
    X, y, path = problem
    whole, found = gradient_noise(X, y, draws=0), gradient_noise(path, y)
    assert whole.sampled is None and found.sampled == found.to_dict()["sampled"] == 2048
    assert found.n == 6000 and found.without_replacement[-1].predicted == 0
    assert found.noise_scale == pytest.approx(whole.noise_scale, rel=0.2)
    assert found.with_replacement[0].std is None
    with pytest.raises(ValueError, match="draws is 10; expected 0 .* too many in a file"):
        gradient_noise(path, y, draws=10)


def test_noise_of_few_rows_in_a_file_is_exact(problem):
    X, y, path = problem
    np.save(path, X[:500])
    whole, found = gradient_noise(X[:500], y[:500], draws=0), gradient_noise(path, y[:500], draws=0)
    assert found.sampled is None and found.sigma == whole.sigma


@pytest.mark.slow
def test_noise_along_a_run_over_a_file(problem):
    X, y, path = problem
    found = train(path, y, lr=0.01, epochs=2, seed=0, track_noise=True).noise
    assert found.trace[0] == pytest.approx(gradient_noise(X, y, draws=0).trace, rel=0.2)


@pytest.mark.parametrize("sampling", ["auto", pytest.param("sequential", marks=pytest.mark.slow)])
def test_an_automatic_batch_size_for_a_file(problem, sampling):
    _, y, path = problem
    fit = train(path, y, lr=0.01, epochs=2, seed=0, batch_size="auto", sampling=sampling)
    assert 1 < fit.settings["batch_size"] < 6000 and "noisy quadratic" in fit.batch_size_because


@pytest.mark.slow
def test_the_best_batch_size_from_a_sample(problem):
    _, y, path = problem
    best = best_batch_size(path, y, budget=1.0, target=0.1)
    assert (best.n, best.sampled_from, best.standardize) == (2048, 6000, True)
    assert "2048 rows of the sample" in best.sentence
    assert train(path, y, batch_size=best, epochs=1).settings["batch_size"] == best.batch_size


@pytest.mark.parametrize("is_list", [False, True])
def test_paths_are_named_where_rows_are_not_opened(problem, is_list):
    _, y, path = problem
    with pytest.raises(TypeError, match=r"X is (the path of a file|a list with paths of files); expected what"):
        gradient([path] if is_list else str(path), y, np.zeros(4))


@pytest.mark.parametrize("command", ["noise", pytest.param("batch", marks=pytest.mark.slow)])
def test_commands_take_the_target_of_shards(problem, capsys, tmp_path, command):
    X, y, _ = problem
    write_shards(X[:200], y[:200], tmp_path / "out", shards=2, target="t")
    assert main([command, str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 200


def test_the_name_of_a_file_of_another_kind(problem):
    _, y, _ = problem
    with pytest.raises(TypeError, match=r"X is the text 'mine.csv'; .* numbasgd.data.load_table"):
        train("mine.csv", y)


def test_targets_in_a_file_of_rows_in_memory(problem):
    X, y, path = problem
    with pytest.raises(TypeError, match=r"y is the path of a file; expected what is in it"):
        train(X, path)
