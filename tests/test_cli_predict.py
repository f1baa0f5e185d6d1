"""``numbasgd train DATA --save`` and ``numbasgd predict``, on files as people have them."""

import csv
import io
import json

import numpy as np
import pytest
from conftest import says

from numbasgd import Fit
from numbasgd.cli import main, progress_line
from numbasgd.sgd import progress

RNG = np.random.default_rng(5)
X = RNG.standard_normal((60, 2))
SPECIES = np.where(X @ [2.0, -1.0] > 0, "setosa", "virg inica")
RUN = ["--lr", "0.1", "--epochs", "3", "--seed", "1", "--batch-size", "5", "--standardize"]


def lines_of(*columns, header="sepal;petal;species", decimal=","):
    rows = (";".join(str(x).replace(".", decimal) for x in row) for row in zip(*columns, strict=True))
    return "\n".join([header, *rows]) + "\n"


@pytest.fixture
def flowers(tmp_path, capsys):
    """A CSV file of a country with decimal commas, and a fit of it."""
    data, kept = tmp_path / "flowers.csv", tmp_path / "fit.npz"
    data.write_text(lines_of(*X.T, SPECIES), encoding="utf-16")
    argv = ["train", str(data), "--target", "species", "--loss", "softmax", *RUN]
    assert main([*argv, "--save", str(kept)]) == 0
    told = capsys.readouterr()
    assert "setosa, virg inica" in told.out.replace("'", "")
    assert "numbasgd train: note: numbers such as" in told.err and "--decimal '.' says otherwise" in told.err
    return str(data), str(kept)


def test_a_fit_of_a_table_predicts_for_a_table(flowers, tmp_path, capsys):
    data, kept = flowers
    fit = Fit.load(kept)
    out = tmp_path / "out.csv"
    assert main(["predict", kept, data, "--drop", "species", "--out", str(out)]) == 0
    assert f"60 rows: 'prediction' written to {out}" in capsys.readouterr().out
    with out.open(newline="") as written:
        found = list(csv.reader(written))
    assert found[1:] == [[name] for name in fit.predict(X)]
    assert list(out.parent.glob(".*")) == []
    assert main(["predict", kept, data, "--drop", "2", "--proba", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] == 60 and "decimal comma" in found["notes"][0]
    np.testing.assert_array_equal(found["predictions"]["probability of virg inica"], fit.predict_proba(X)[:, 1])
    assert main(["predict", kept, data, "--drop", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == ["prediction", *fit.predict(X)]


def test_columns_are_found_by_name(flowers, tmp_path, capsys):
    _, kept = flowers
    expected = list(Fit.load(kept).predict(X))
    other = tmp_path / "other.csv"
    other.write_text(
        lines_of(range(60), X[:, 1], SPECIES, X[:, 0], header="id;petal;species;sepal", decimal=".")
    )
    assert main(["predict", kept, str(other)]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[1:] == expected
    assert "2 column(s) that the fit does not know are left out: id, species" in told.err
    other.write_text(lines_of(*X.T, header="sepal;pedal", decimal="."))
    assert main(["predict", kept, str(other)]) == 2
    says(
        ValueError(capsys.readouterr().err),
        "has no column 'petal'; expected the 2 columns",
        "nearest is 'pedal'",
    )
    np.save(tmp_path / "plain.npy", X)
    assert main(["predict", kept, str(tmp_path / "plain.npy")]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[1:] == expected and "taken by position" in told.err


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".npy", ".npz", ".parquet", ".json"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_every_kind_of_file_holds_the_same_bits(suffix, dtype, tmp_path, capsys):
    rows = np.column_stack([X, X @ [1.0, -3.0] / 3]).astype(dtype)
    np.save(tmp_path / "data.npy", rows)
    np.save(tmp_path / "new.npy", rows[:, :2])
    kept, out = str(tmp_path / "a.fit"), tmp_path / f"out{suffix}"
    assert main(["train", str(tmp_path / "data.npy"), "--target", "-1", *RUN, "--save", kept]) == 0
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    assert main(["predict", kept, str(tmp_path / "new.npy"), "--out", str(out)]) == 0
    expected = Fit.load(kept).predict(rows[:, :2])
    if suffix in (".csv", ".tsv"):
        found = np.loadtxt(out, skiprows=1, dtype=expected.dtype)
    elif suffix == ".parquet":
        found = __import__("pyarrow.parquet").parquet.read_table(out)["prediction"].to_numpy()
    elif suffix == ".json":
        found = np.array(json.loads(out.read_text())["prediction"], expected.dtype)
    else:
        found = np.load(out) if suffix == ".npy" else np.load(out)["prediction"]
    np.testing.assert_array_equal(found, expected)
    assert suffix in (".csv", ".tsv", ".json") or found.dtype == expected.dtype
    capsys.readouterr()


@pytest.mark.parametrize("is_text", [True, False])
def test_rows_with_gaps_are_kept_or_left_out_as_is_said(is_text, tmp_path, capsys):
    y = SPECIES if is_text else X @ [1.0, 2.0]
    (tmp_path / "all.csv").write_text(lines_of(*X.T, y, decimal="."))
    kept = str(tmp_path / "a.fit")
    loss = ["--loss", "logistic"] if is_text else []
    assert main(["train", str(tmp_path / "all.csv"), "--target", "species", *loss, *RUN, "--save", kept]) == 0
    gaps = tmp_path / "gaps.csv"
    gaps.write_text("sepal;petal\n1;2\n;5\n3;NA\n4;5\n")
    expected = Fit.load(kept).predict([[1.0, 2.0], [4.0, 5.0]])
    assert main(["predict", kept, str(gaps)]) == 2
    assert "line 3, column 0 (sepal) is empty" in capsys.readouterr().err
    assert main(["predict", kept, str(gaps), "--missing", "drop"]) == 0
    told = capsys.readouterr()
    assert "2 of 4 rows have missing cells" in told.err
    assert told.out.split("\n")[1:-1] == [str(value) for value in expected]
    assert main(["predict", kept, str(gaps), "--missing", "keep"]) == 0
    assert capsys.readouterr().out.split("\n")[1:-1] == [str(expected[0]), '""', '""', str(expected[1])]
    assert main(["predict", kept, str(gaps), "--missing", "keep", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["predictions"]["prediction"]
    assert found == [expected[0], None, None, expected[1]]
    assert main(["predict", kept, str(gaps), "--missing", "keep", "--out", str(tmp_path / "out.json")]) == 0
    assert "2 of them without a prediction" in capsys.readouterr().out
    assert json.loads((tmp_path / "out.json").read_text())["prediction"] == found


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (["--out", "out.doc"], ("--out is 'out.doc'", "expected a file that ends with one of .csv")),
        (["--out", "no/such/out.csv"], ("--out is", "cannot be written", "Make the folder")),
        (["--out", "FOLDER.csv"], ("a folder; expected a file",)),
        (["--proba", "--drop", "2", "--out", "out.npy"], (".npy file, which holds one array",)),
        (["--drop", "nothing"], ("--drop is 'nothing'; expected one of 'sepal', 'petal', 'species'",)),
        (["--delimiter", ",,"], ("--delimiter is ',,'; expected one character",)),
        (["--encoding", "utf-9"], ("--encoding is 'utf-9'",)),
    ],
)
def test_bad_predictions_are_one_sentence(more, parts, flowers, tmp_path, capsys, monkeypatch):
    data, kept = flowers
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FOLDER.csv").mkdir()
    assert main(["predict", kept, data, *more]) == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told
    says(ValueError(told), *parts)
    assert not (tmp_path / "out.npy").exists()


def test_bad_fits_and_data(flowers, tmp_path, capsys):
    data, kept = flowers
    assert main(["predict", data, data]) == 2
    assert "flowers.csv is not the file of a numbasgd fit" in capsys.readouterr().err.replace("'", "")
    assert main(["train", *RUN, "--save", str(tmp_path / "twin.fit")]) == 0
    assert main(["predict", str(tmp_path / "twin.fit"), data, "--proba"]) == 2
    assert "--proba was given, and the fit has loss 'squared'" in capsys.readouterr().err
    np.save(tmp_path / "wide.npy", np.ones((3, 9)))
    assert main(["predict", str(tmp_path / "twin.fit"), str(tmp_path / "wide.npy")]) == 2
    said = "has 9 columns and the fit was made on 5; expected as many, in the same order. Leave the others out"
    assert said in (told := capsys.readouterr().err) and "--drop 8" in told


def test_names_reach_the_terminal_without_escape_codes(tmp_path, capsys):
    evil = "a\x1b[31m\x07b\u202e"
    data = tmp_path / "evil.csv"
    data.write_text(f"{evil},y\n" + "".join(f"{i},{i % 7}\n" for i in range(20)))
    assert main(["train", str(data), "--target", "y", *RUN]) == 0
    told = capsys.readouterr()
    assert r"a\x1b[31m\x07b\u202e" in told.out
    assert main(["train", str(data), "--target", "y", *RUN, "--json"]) == 0
    found = capsys.readouterr()
    assert json.loads(found.out)["columns"] == [evil]
    data.write_text(f"y,{evil}\n" + "".join(f"{i % 2},{'x' * i}{evil}\n" for i in range(2)) * 4)
    assert main(["train", str(data), "--target", "y", *RUN]) == 2
    assert main(["train", str(data), "--target", evil, *RUN]) == 2
    assert main(["train", str(data), "--target", f"{evil}z", *RUN]) == 2
    assert (
        main(["train", str(data), "--target", "1", "--loss", "logistic", "--save", f"{tmp_path}/a", *RUN]) == 0
    )
    told_too = capsys.readouterr()
    for text in (told.out, told.err, found.out, found.err, told_too.out, told_too.err):
        assert all(c.isprintable() or c == "\n" for c in text)

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    from numbasgd.render.predictions import print_csv

    print_csv({evil: np.array([evil])}, stream := Terminal())
    assert "\x1b" not in stream.getvalue()
    print_csv({evil: np.array([evil])}, stream := io.StringIO())
    assert stream.getvalue() == f"{evil}\n{evil}\n"


@pytest.mark.slow
@pytest.mark.filterwarnings("always")
def test_softmax_on_real_numbers_is_told(tmp_path, capsys):
    rows = np.column_stack([X, RNG.standard_normal(60)])
    np.save(tmp_path / "real.npy", rows)
    assert main(["train", str(tmp_path / "real.npy"), "--target", "2", "--loss", "softmax", *RUN]) == 0
    assert "warning: y holds 60 different values" in (told := capsys.readouterr().err)
    assert "Pass --loss squared" in told or "pass --loss squared" in told
    rows[:, 2] = np.arange(60) % 12 / 2
    np.save(tmp_path / "ratings.npy", rows)
    assert main(["train", str(tmp_path / "ratings.npy"), "--target", "2", "--loss", "softmax", *RUN]) == 0
    assert "warning" not in capsys.readouterr().err


def test_json_has_the_notes(tmp_path, capsys):
    data = tmp_path / "years.csv"
    data.write_text("1990,1991\n" + "".join(f"{i},{i % 5}\n" for i in range(30)))
    assert main(["train", str(data), "--target", "1", *RUN, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == 31 and "--header yes" in found["notes"][0]
    assert main(["train", str(data), "--target", "1991", "--header", "yes", *RUN, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n"], found["columns"], found["notes"]) == (30, ["1990"], [])
    assert main(["noise", str(data), "--target", "1991", "--header", "yes", "--draws", "5"]) == 0


def test_reading_shows_rate_and_time_left_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    now = iter([100.0, 102.0, 102.1, 104.0])
    monkeypatch.setattr(progress_line, "perf_counter", lambda: next(now))
    monkeypatch.setattr("sys.stderr", stream := Terminal())
    with progress_line.ReadingLine("big\x1b.csv") as line:
        line.tell(20_000_000, 100_000_000, "bytes")
        line.tell(21_000_000, 100_000_000, "bytes")  # too soon after the one before
        line.tell(80_000_000, 100_000_000, "bytes")
    shown = [part.strip() for part in stream.getvalue().split("\r")]
    first, second = "20 %, 10 MB/s, 8 s left", "80 %, 20 MB/s, 1 s left"
    assert shown == ["", *(rf"reading big\x1b.csv: {each}" for each in (first, second)), "", ""]


def test_training_shows_rate_and_time_left(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr("sys.stderr", stream := io.StringIO())
    line = progress.Progress(True, 10, 1000)
    line.show(0, None)
    now[0] = 102.0
    line.show(2000, None)
    line.end()
    assert "epoch 2.0 of 10, 1000 rows/s, at most 8 s left" in stream.getvalue()
