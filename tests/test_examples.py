"""``numbasgd/examples``: each runs as ``python -m numbasgd.examples.NAME`` and says what it set out to say."""

from __future__ import annotations

import importlib
import pkgutil
import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest

import numbasgd
from numbasgd import examples

NEEDS_SCIKIT_LEARN = ("digits", "pipeline")
NEEDS_SCIPY = ("sparse",)


@pytest.fixture
def output(capsys, monkeypatch):
    """What an example prints."""
    monkeypatch.setenv("NUMBASGD_OFFLINE", "1")

    def run(name):
        if name in NEEDS_SCIKIT_LEARN:
            pytest.importorskip("sklearn", minversion="1.6", reason="the example needs scikit-learn")
        if name in NEEDS_SCIPY:
            pytest.importorskip("scipy", reason="the example needs SciPy")
        # By its file: ``run_module`` finds no code where pytest rewrites an installed plugin's package.
        runpy.run_path(str(Path(examples.__path__[0]) / f"{name}.py"), run_name="__main__")
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return run


def test_each_example_has_a_test_below_and_a_place_in_the_readme():
    names = [module.name for module in pkgutil.iter_modules(examples.__path__)]
    assert sorted(names) == sorted(["airfoil", "larger_than_memory", *NEEDS_SCIKIT_LEARN, *NEEDS_SCIPY])
    readme = (Path(numbasgd.__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in readme or f"numbasgd.examples.{name}`" in readme for name in names)


@pytest.mark.parametrize("name", NEEDS_SCIKIT_LEARN)
def test_without_scikit_learn_a_sentence_says_what_to_install(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    for module in [m for m in sys.modules if m.startswith("sklearn.")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(SystemExit, match=rf"^{name}: scikit-learn.* missing\. pip install \"numbasgd\["):
        importlib.import_module(f"numbasgd.examples.{name}").main()


@pytest.mark.parametrize("name", NEEDS_SCIPY)
def test_without_scipy_a_sentence_says_what_to_install(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(SystemExit, match=rf"^{name}: SciPy is missing\. pip install \"numbasgd\["):
        importlib.import_module(f"numbasgd.examples.{name}").main()


@pytest.mark.slow
@pytest.mark.parametrize("data", ["file", "twin"])
def test_airfoil(output, data, monkeypatch, tmp_path, request):
    if data == "file":
        request.getfixturevalue("airfoil")  # skips where the file is not
    else:
        monkeypatch.setenv("NUMBASGD_DATA_DIR", str(tmp_path))
        monkeypatch.setenv("NUMBASGD_CACHE_DIR", str(tmp_path))
    out = output("airfoil")
    assert out.startswith("NASA airfoil" if data == "file" else "The embedded twin")
    lines = re.findall(r"^ +(\d+)  ([\d.]+) +([\d.]+) +([\d.]+)$", out, re.M)
    assert [int(line[0]) for line in lines] == [1, 10, 100, 1500]
    assert all(0.2416 < float(line[2]) < 0.2435 for line in lines)  # the minimum is 0.24169
    assert "\nloss       0.493259 -> 0.2417" in out and "\nweights " in out


@pytest.mark.slow
def test_digits(output):
    out = output("digits")
    assert "-> 10 classes" in out and "softmax loss" in out
    accuracy, others = re.search(r"^([\d.]+)% of (\d+) other digits are read right", out, re.M).groups()
    assert float(accuracy) > 93 and others == "450"
    assert re.search(r"^  \d read as \d: \d+$", out, re.M)


@pytest.mark.slow
def test_pipeline(output):
    out = output("pipeline")
    chosen = dict(re.findall(r"^(select__k|sgd__\w+) +(\S+)$", out, re.M))
    assert chosen.keys() == {"select__k", "sgd__loss", "sgd__l2"}
    in_folds, held_back = re.search(r"([\d.]+)% in cross-validation, ([\d.]+)% held back", out).groups()
    assert float(in_folds) > 95 and float(held_back) > 92
    assert "30 columns" in out and "\nweights " in out


@pytest.mark.slow
def test_sparse(output):
    out = output("sparse")
    stored, entries = map(int, re.search(r": (\d+) counts are stored of (\d+)$", out, re.M).groups())
    assert stored < entries / 500
    assert float(re.search(r"^([\d.]+)% of 5000 other texts are told right", out, re.M).group(1)) > 85
    found = dict(re.findall(r"^  (\w+)  (\w+(?: \w+){7})$", out, re.M))
    topics = importlib.import_module("numbasgd.examples.sparse").TOPICS
    assert {name: set(words.split()) for name, words in found.items()} == {
        name: set(words) for name, words in topics.items()
    }


@pytest.mark.slow
def test_larger_than_memory(output, tmp_path, monkeypatch):
    if (free := shutil.disk_usage(tmp_path).free) < 6e9:
        pytest.skip(f"{free / 1e9:.1f} GB of the disk are free, and this needs 6")
    monkeypatch.setattr(sys, "argv", ["example", "--gigabytes", "2", "--folder", str(tmp_path)])
    out = output("larger_than_memory")
    assert "x 64 columns" in out and "sampling block, loss 0.6931 ->" in out
    before, after = (float(value) for value in re.findall(r"in memory \w+: +(\d+) MB", out))
    assert after - before < 64 + 2 * 24
    assert float(re.search(r"([\d.]+)% of the labels", out).group(1)) > 80
    assert list(tmp_path.iterdir()) == []
