"""A file of a fit whose checksum is right and whose values are nonsense is refused when it is loaded.

What is not refused is valid where it stands: such a Fit predicts, is drawn and goes on like any other.
"""

import copy
import functools
import hashlib
import json
import random
from pathlib import Path

import numpy as np
import pytest
from conftest import says
from runs import EPOCHS, RUNS, cut, data, resume, run

from numbasgd import DivergenceError, Fit, FitFileError, train

NAN, INF = float("nan"), float("inf")
NONSENSE = (
    None, True, False, NAN, INF, -INF, 0, 1, -1, 2**31, 2**62, 2**64, 10**400, 0.0, 0.5, -0.5, 1e300, -1e300,
    1e-300, "", "x", "auto", "float32", {}, {"x": 1}, {"array": ["<f8", [1]]}, [], [1], [0.5, NAN], [[]],
)  # fmt: skip

# Runs of few rows; a name that ends in "cut" is stopped after so many steps, within an epoch.
FITS = {
    "plain": ("plain", None),
    "rates cut": ("rates", 300),
    "rounds-undone cut": ("rounds-undone", 300),
    "standardized": ("standardized", None),
    "no-intercept cut": ("no-intercept", 1),
    "stops-early": ("stops-early", None),
    "stops-early-held-out cut": ("stops-early-held-out", 200),
    "classes cut": ("classes", 170),
    "softmax": ("softmax", None),
    "outputs cut": ("outputs", 33),
    "no steps": ("replacement", 0),
}


def header_of(content: bytes) -> dict:
    return json.loads(content.split(b"\n", 2)[1])


def with_header(content: bytes, header: dict) -> bytes:
    """The file with another header, and the checksum that belongs to it."""
    first, _, rest = content[:-32].split(b"\n", 2)
    content = b"\n".join([first, json.dumps(header).encode(), rest])
    return content + hashlib.sha256(content).digest()


def places(value, place=()):
    """Where everything in a header is, containers too, and what is there."""
    yield place, value
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*place, key))


def with_value(header: dict, place: tuple, value) -> dict:
    """A copy of a header with one value replaced."""
    changed = {"": copy.deepcopy(header)}
    *way, last = ("", *place)
    functools.reduce(lambda found, key: found[key], way, changed)[last] = value
    return changed[""]


@pytest.fixture(scope="module")
def axes():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    return figure.add_subplot()


def use(fit: Fit, name: str, axes) -> None:
    """All that can be done with a Fit."""
    fit.predict(data(RUNS[name][0])[0][:3])
    assert fit.seconds_per_epoch >= 0
    assert repr(fit).startswith("<Fit: ")
    json.dumps(fit.to_dict())
    fit.plot(axes)
    axes.clear()


def go_on(fit: Fit, name: str, **changes) -> None:
    """What a changed seed or setting makes of a run may diverge; a size that data has not is refused."""
    with np.errstate(all="ignore"):
        try:
            resume(name, fit, epochs=EPOCHS, **changes)
        except (ValueError, FitFileError, DivergenceError, UserWarning) as error:
            assert len(str(error)) > 40


def saved(name: str, tmp_path, monkeypatch) -> tuple[Path, bytes, str]:
    kind, steps = FITS[name]
    if not steps:
        fit = run(kind) if steps is None else run(kind, epochs=0)
    else:
        fit = cut(monkeypatch, tmp_path, steps, functools.partial(run, kind))
    path = tmp_path / "a.fit"
    fit.save(path)
    return path, path.read_bytes(), kind


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("is_whole", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["drawn", "all"])
def test_nonsense_is_refused_or_valid(name, is_whole, tmp_path, monkeypatch, axes):
    """Every value of the header in turn, by each of ``NONSENSE``; or by one of them that is drawn."""
    path, content, kind = saved(name, tmp_path, monkeypatch)
    header = header_of(content)
    draw = random.Random(name)
    refused = taken = 0
    for place, old in places(header):
        for value in NONSENSE if is_whole else draw.sample(NONSENSE, 1):
            if type(old) is type(value) and repr(old) == repr(value):
                continue
            path.write_bytes(with_header(content, with_value(header, place, value)))
            try:
                fit = Fit.load(path)
            except FitFileError as error:
                refused += 1
                says(error, "is damaged (", "expected a file written by Fit.save", "Use another copy")
                continue
            taken += 1
            try:
                use(fit, kind, axes)
                go_on(fit, kind)
            except Exception as error:
                raise AssertionError(f"{place} = {value!r:.50} was taken") from error
    assert refused > 70
    assert refused > 9 * taken > 0 or not is_whole


def changed(content: bytes, **values) -> bytes:
    """The file with other values of the settings, or of the fit or its state where that is no setting."""
    header = header_of(content)
    for name, value in values.items():
        parts = (header["fit"]["settings"], header["fit"], header["state"])
        next(part for part in parts if name in part)[name] = value
    return with_header(content, header)


@pytest.mark.parametrize(
    ("values", "says_what"),
    [
        ({"best_watched": None}, "best_watched of state is None (NoneType), not a float"),
        ({"n": INF}, "n of fit is inf (float), not an integer from 1"),
        ({"b": {}}, "b of fit is {} (dict), not a float or an array"),
        ({"b": 1e300}, "w and b are not the weights of the state"),
        ({"n": 1499}, "n is 1499, X has 1500 rows, validation_fraction is 0.0"),
        ({"classes": []}, "classes of fit is () (tuple), not null or two or more"),
        ({"classes": [3, 7]}, "loss squared and classes (3, 7)"),
        ({"loss": "logistic"}, "loss logistic and classes None"),
        ({"batch_size": 1501}, "batch_size is 1501 of 1500 rows"),
        ({"batch_size": 8}, "7 samples of an epoch, within a step"),
        ({"epochs": 1}, "1507 samples in 1 epochs of 1500 rows"),
        ({"lr": 0.02}, "lr of settings and of the first epoch differ"),
        ({"lr_given": [0.01] * 4}, "lr_given and rates differ"),
        ({"standardize": True}, "w is (5,) float32, not (5,) float64"),
        ({"sample_weight": True}, "sample_weight of settings and of data"),
        ({"dtype": "float64"}, "not (5,) float64"),
        ({"nesterov": True}, "nesterov of settings is True, and momentum is 0"),
        ({"average": True}, "0 steps in the mean, average is True"),
        ({"stale": 1}, "1 stale epochs, and at most 0 can be"),
        ({"is_over": True}, "is_over and stale epochs"),
        ({"looked": 3000}, "looked at, or asked, after 1507 samples"),
        ({"asked": 1507}, "asked within an epoch"),
        ({"best_watched": INF}, "the best loss is inf, the first 0.49"),
        ({"limit": 0.25}, "the limit of the loss is 0.25, the first 0.49"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_the_error_says_what_is_wrong(values, says_what, tmp_path, monkeypatch):
    fit = cut(monkeypatch, tmp_path, 216, functools.partial(run, "plain"))
    path = tmp_path / "a.fit"
    fit.save(path)
    path.write_bytes(changed(path.read_bytes(), **values))
    with pytest.raises(FitFileError) as caught:
        Fit.load(path)
    says(caught.value, repr(str(path)), "is damaged (", says_what, "Use another copy")


@pytest.mark.filterwarnings("ignore:column .* overshoots:UserWarning")
@pytest.mark.filterwarnings("ignore:lr is .* beyond the largest stable one:UserWarning")
@pytest.mark.parametrize("name", ["plain", "standardized"])
@pytest.mark.filterwarnings("ignore:lr is .* beyond the largest stable one:UserWarning")
def test_a_run_on_its_way_to_infinity_is_kept(name, tmp_path, monkeypatch):
    """Nobody has looked yet; what is no number must not make its file a damaged one."""
    fit = cut(monkeypatch, tmp_path, 150, functools.partial(run, name, lr=1e8, eval_every=None))
    assert not np.isfinite(fit.w).any() and not np.isfinite(fit.b)
    fit.save(tmp_path / "a.fit")
    again = Fit.load(tmp_path / "a.fit")
    assert again.w.tobytes() == fit.w.tobytes() and not np.isfinite(again.b)
    with pytest.raises(DivergenceError):
        resume(name, again)


def of_the_version_before() -> dict[str, tuple[dict, dict]]:
    """Files of tests/data: rows and settings of the run, which a callback stopped after two epochs."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((40, 3))
    two = np.where(X[:, 0] + 0.5 * rng.standard_normal(40) > 0, "spam", "ham")
    three = np.array(["a", "bb", "c"])[np.digitize(X[:, 1], [-0.5, 0.5])]
    weights = rng.uniform(0.1, 2, 40)
    return {
        "one-output-format-1.fit": (
            {"X": X.astype(np.float32), "y": two, "sample_weight": weights},
            {
                "loss": "logistic", "batch_size": 7, "lr": 0.1, "epochs": 4, "seed": 3, "momentum": 0.5,
                "l2": 1e-3, "average": 1, "eval_every": 17,
            },
        ),
        "outputs-format-2.fit": (
            {"X": X, "y": three},
            {
                "loss": "softmax", "batch_size": 5, "lr": [0.1, 0.05, 0.02, 0.02], "epochs": 4, "seed": 3,
                "standardize": True, "validation_fraction": 0.2, "tol": 1e-6, "patience": 3,
            },
        ),
        "quantile-format-3.fit": (
            {"X": X, "y": X[:, 0] + weights},
            {"loss": "quantile", "quantile": 0.9, "batch_size": 10, "lr": 0.05, "epochs": 4, "seed": 3},
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", of_the_version_before())
def test_files_of_the_version_before(name):
    rows, settings = of_the_version_before()[name]
    path = Path(__file__).parent / "data" / name
    before = Fit.load(path)
    assert before.epochs[-1] == 2
    assert before.stopped == "unfinished" and before.settings["schedule"] == "constant"
    known = {**before.settings, "seed": before.seed, "lr": before.settings["lr_given"]}
    assert known.items() >= settings.items()
    whole = train(**rows, **settings)
    n_recorded = len(before.loss) - 1
    np.testing.assert_allclose(before.loss[:n_recorded], whole.loss[:n_recorded], rtol=1e-4)
    resumed = train(**rows, resume=path)
    # Another machine's registers may be of another width, and its sums be rounded otherwise.
    rtol = 1e-4 if resumed.w.dtype == np.float32 else 1e-10
    np.testing.assert_allclose(resumed.w, whole.w, rtol=rtol)
    assert np.array_equal(resumed.samples, whole.samples) and resumed.classes == whole.classes
    assert np.array_equal(resumed.predict(rows["X"]), whole.predict(rows["X"]))
