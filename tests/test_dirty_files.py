"""Files as people have them: what is read as it was meant, what is told of it, what names the wrong cells."""

import datetime
import pickle
import re
import zipfile

import numpy as np
import pytest

from numbasgd import DataError
from numbasgd.data import ReadOptions, arrow_text, read_table, text

X = np.array([[1.5, -2.0], [3.25, 1000.0], [-7.0, 0.125]])
Y = np.array([10.0, -0.5, 4.0])
ROWS = "1.5,-2,10\n3.25,1000,-0.5\n-7,0.125,4\n"


@pytest.fixture
def write(tmp_path):
    def write(content, name="data.csv"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    return write


def holds(table, columns=("a", "b"), notes=()):
    """The numbers above, these names, and one note for each of these patterns and no other."""
    np.testing.assert_array_equal(table.X, X)
    np.testing.assert_array_equal(table.y, Y)
    assert table.columns == list(columns)
    assert table.X.flags.c_contiguous and table.X.flags.writeable
    assert len(table.notes) == len(notes), table.notes
    for note, pattern in zip(table.notes, notes, strict=True):
        assert re.search(pattern, note), note


COMMA = "a;b;y\n" + ROWS.replace(",", ";").replace(".", ",")
UNICODE = "größe,b,y\n" + ROWS
READ = {
    "excel of a country with decimal commas": (COMMA, (), "'1,5' are read with a decimal comma"),
    "the same with a mark and its line ends": ("\ufeff" + COMMA.replace("\n", "\r\n"), (), "decimal comma"),
    "excel's line about the delimiter": ("sep=;\r\na;b;y\r\n" + ROWS.replace(",", ";"), ()),
    "excel's unicode text": (("a\tb\ty\n" + ROWS.replace(",", "\t")).encode("utf-16"), ()),
    "utf-16, the other byte order": (b"\xfe\xff" + ("a,b,y\n" + ROWS).encode("utf-16-be"), ()),
    "utf-8": (UNICODE, ("größe", "b")),
    "windows-1252": (UNICODE.encode("cp1252"), ("größe", "b"), "not UTF-8.*Windows-1252"),
    "pipes": ("a|b|y\n" + ROWS.replace(",", "|"), ()),
    "tabs and quotes": ('"a"\t"b"\t"y"\n' + ROWS.replace(",", "\t"), ()),
    "a name with the delimiter": ('"a, or so",b,y\n' + ROWS, ("a, or so", "b")),
    "a delimiter at the end of each line": ("a,b,y,\n" + ROWS.replace("\n", ",\n"), ()),
    "names that are years": ("size,1990,y\n" + ROWS, ("size", "1990"), "line 1 is read as the names.*column 0"),
    "no names": (ROWS, ("column 0", "column 1"), "no names of columns: line 1 is read as a row"),
}


@pytest.mark.parametrize(("content", "columns", "notes"), [(*c[:2], c[2:]) for c in READ.values()], ids=READ)
def test_read_as_it_was_meant(content, columns, notes, write):
    holds(read_table(write(content), -1), columns or ("a", "b"), notes)


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("1990,1991,1992\n" + ROWS, {"header": "yes"}),
        ("x;y;z\n" + ROWS.replace(",", ";"), {"header": "yes", "delimiter": ";"}),
        (COMMA.replace("1000", "1000,0"), {"decimal": ",", "delimiter": ";"}),
        (("a,b,y\n" + ROWS).encode("utf-16-le"), {"encoding": "utf-16-le"}),
        ("год,b,y\n".encode("cp1251") + ROWS.encode(), {"encoding": "cp1251"}),
    ],
)
def test_what_is_said_is_not_guessed(content, options, write):
    table = read_table(write(content), -1, ReadOptions(**options))
    np.testing.assert_array_equal(table.X, X)
    assert table.notes == []


def test_numbers_that_could_be_thousands_are_not_guessed(write):
    file = write("a;y\n1,000;2\n3,141;4\n")
    with pytest.raises(DataError, match=r"line 2, column 0 \(a\) is '1,000'.*decimal=','"):
        read_table(file, "y")
    np.testing.assert_array_equal(read_table(file, "y", ReadOptions(decimal=",")).X, [[1.0], [3.141]])
    with pytest.raises(DataError, match=r"line 2, column 0 \(a\) is '1.234,5'"):
        read_table(write("a;y\n1.234,5;2\n3,1;4\n"), "y", ReadOptions(decimal=","))


@pytest.mark.parametrize(
    ("cell", "said", "advice"),
    [
        ("2024-03-09", "is '2024-03-09'", "A date is no number.*drop=1"),
        ("9.3.2024", "is '9.3.2024'", "A date is no number"),
        ("03/09/24 12:30", "is '03/09/24 12:30'", "A date is no number"),
        ("12%", "is '12%'", "the number alone"),
        ("$1.50", "is '$1.50'", "the number alone"),
        ('"1,200"', "is '1,200'", "signs of thousands|decimal"),
        ("1 200", "is '1 200'", "between thousands"),
        ("", "is empty", "missing='drop'"),
        ("NA", "is 'NA'", "missing='drop'"),
        ("?", "is '?'", "missing='drop'"),
        ("#N/A", "is '#N/A'", "missing='drop'"),
        ("-inf", "is '-inf'", "Mend"),
        ("1_000", "is '1_000'", "Mend"),
        ("0x10", "is '0x10'", "Mend"),
        ("\x1b[31mred", r"is '\x1b[31mred'", "Mend"),
    ],
)
def test_a_wrong_cell_is_named(cell, said, advice, write):
    with pytest.raises(DataError, match=advice) as caught:
        read_table(write(f"a,b,y\n1,2,3\n4,{cell},6\n7,8,9\n"), "y")
    assert f"line 3, column 1 (b) {said}; expected a finite number. " in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_all_wrong_cells_are_named_while_they_are_few(write):
    file = write("a,b,y\n" + "1,2,3\n" * 3 + "x,2,3\n1,,3\n1,2,z\n")
    with pytest.raises(DataError) as caught:
        read_table(file, "y")
    told = str(caught.value)
    assert "line 5, column 0 (a) is 'x'" in told
    assert "Likewise line 6, column 1 (b) is empty; line 7, column 2 (y) is 'z'." in told
    with pytest.raises(DataError, match="; and 95 more"):
        read_table(write("a,y\n" + "1,2\n" * 30 + "1,\n" * 100), "y")


@pytest.mark.parametrize("gap", ["", "NA", "n/a", "NaN", "null", "None", "?", "#N/A", " - "])
def test_rows_with_missing_cells_are_left_out_where_that_is_said(gap, write):
    file = write(f"a,b,y\n1.5,-2,10\n{gap},5,5\n3.25,1000,-0.5\n5,5,{gap}\n-7,0.125,4\n")
    with pytest.raises(DataError, match="line 3, column 0 .* Likewise line 5, column 2"):
        read_table(file, "y")
    holds(read_table(file, "y", ReadOptions(missing="drop")), notes=["2 of 5 rows have missing cells"])
    kept = read_table(file, "y", ReadOptions(missing="keep"))
    assert kept.is_complete.tolist() == [True, False, True, False, True] and np.isnan(kept.X[1, 0])
    wrong = write("a,b,y\n1,2,3\nx,5,5\n")
    with pytest.raises(DataError, match="line 3, column 0"):
        read_table(wrong, "y", ReadOptions(missing="drop"))
    with pytest.raises(DataError, match="in each of its 2 rows"):
        read_table(write("a,b,y\n1,,3\n2,,5\n"), "y", ReadOptions(missing="drop"))


def test_columns_that_are_left_out_may_hold_anything(write):
    file = write("id,a,when,b,y\nx1,1.5,2024-01-01,-2,10\nx2,3.25,,1000,-0.5\n,-7,never,0.125,4\n")
    holds(read_table(file, "y", ReadOptions(drop=("id", 2))))
    with pytest.raises(ValueError, match="drop holds the target 'y'"):
        read_table(file, "y", ReadOptions(drop=("y",)))
    with pytest.raises(ValueError, match="drop is 'idd'.*Did you mean 'id'"):
        read_table(file, "y", ReadOptions(drop=("idd",)))
    with pytest.raises(ValueError, match="leaves no feature"):
        read_table(file, "y", ReadOptions(drop=(0, 1, 2, 3)))


def test_text_names_classes_where_the_loss_takes_them(write):
    rows = "1.5,-2,set osa\n3.25,1000,virginica\n-7,0.125,set osa\n"
    for content in ("a,b,y\n" + rows, ("a;b;y\n" + rows.replace(",", ";").replace(".", ","))):
        table = read_table(write(content), "y", takes_labels=True)
        assert table.y.tolist() == ["set osa", "virginica", "set osa"]
        np.testing.assert_array_equal(table.X, X)
        with pytest.raises(DataError, match=r"line 2, column 2 \(y\) is 'set osa'"):
            read_table(write(content), "y")
    np.testing.assert_array_equal(read_table(write("a,b,y\n" + ROWS), "y", takes_labels=True).y, Y)
    odd = read_table(write("a,y\n1,1\n2,2\n3,3+\n"), "y", takes_labels=True)
    assert odd.y.tolist() == ["1", "2", "3+"] and "'3+'" in odd.notes[0]
    with pytest.raises(DataError, match=r"line 3, column 1 \(y\) is empty"):
        read_table(write("a,y\n1,yes\n2,\n"), "y", takes_labels=True)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"header": "maybe"}, ValueError, "header is 'maybe'; expected one of 'auto'"),
        ({"missing": "mean"}, ValueError, "missing is 'mean'; expected one of 'error'"),
        ({"delimiter": ",,"}, ValueError, "delimiter is ',,'; expected one character"),
        ({"delimiter": ",", "decimal": ","}, ValueError, "expected different signs"),
        ({"encoding": "utf-9"}, ValueError, "encoding is 'utf-9'; expected the name"),
        ({"encoding": "hex"}, ValueError, "encoding is 'hex'; expected the name"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        ReadOptions(**options)


def test_bytes_that_the_encoding_does_not_have_are_told(write):
    with pytest.raises(DataError, match=r"is not ascii text .*xf6"):
        read_table(write(UNICODE.encode("cp1252")), "y", ReadOptions(encoding="ascii"))


def test_an_unknown_target_among_many_columns_lists_the_nearest_few(write):
    names = [f"sensor_{j}_reading" for j in range(5000)] + ["Outcome (kW)"]
    file = write(",".join(names) + "\n" + ",".join("1" for _ in names) + "\n")
    for target, near in (("sensr_4321_reading", "sensor_4321_reading"), ("outcome(kw)", "Outcome (kW)")):
        with pytest.raises(ValueError) as caught:
            read_table(file, target)
        assert f"The nearest are '{near}'" in str(caught.value) and len(str(caught.value)) < 400
    with pytest.raises(ValueError) as caught:
        read_table(file, "x" * 100_000)
    assert len(str(caught.value)) < 400
    with pytest.raises(ValueError, match="target is 6000; expected an integer from -5001 to 5000") as caught:
        read_table(file, 6000)
    assert len(str(caught.value)) < 1000


def test_npz_of_one_table_of_x_and_y_and_of_columns(tmp_path):
    file = tmp_path / "t.npz"
    np.savez(file, np.column_stack([X, Y]))
    holds(read_table(file, -1), ["column 0", "column 1"])
    np.savez(file, X=X, y=Y)
    holds(read_table(file, "y"), ["X[0]", "X[1]"])
    np.savez_compressed(file, X=X, y=Y, feature_names=np.array(["a", "b"]))
    holds(read_table(file, "y"))
    np.savez(file, a=X[:, 0], b=X[:, 1], y=Y.astype("f4"))
    holds(read_table(file, "y"))
    np.savez(file, X=X.astype("f4"), y=np.array(["no ", "yes", "no"]))
    table = read_table(file, "y", takes_labels=True)
    assert table.y.tolist() == ["no", "yes", "no"] and table.X.dtype == np.float32
    with pytest.raises(TypeError, match="the array 'y' in .* has dtype <U3"):
        read_table(file, "y")


class Trap:
    def __reduce__(self):
        return pytest.fail, ("it was unpickled",)


def test_bad_npz(tmp_path):
    file = tmp_path / "t.npz"
    np.savez(file, X=X, y=np.array([Trap(), 1, 2], object))
    with pytest.raises(DataError, match="the array 'y' in .*never loaded"):
        read_table(file, "y")
    np.savez(file, X=X, y=Y[:2])
    with pytest.raises(DataError, match="different numbers of rows.*'X' of 3, 'y' of 2"):
        read_table(file, "y")
    np.savez(file, X=X, y=np.zeros((3, 1, 1)))
    with pytest.raises(DataError, match="'y' of 3 dimension"):
        read_table(file, "y")
    np.savez(file, X=np.where(X == 1000, np.nan, X), y=Y)
    with pytest.raises(DataError, match=r"row 1, column 1 \(X\[1\]\) is nan"):
        read_table(file, "y")
    np.savez(file)
    with pytest.raises(DataError):
        read_table(file, 0)
    np.savez(file, X=X, y=Y)
    whole = file.read_bytes()
    for length in (10, 60, 200, len(whole) - 30):
        file.write_bytes(whole[:length])
        with pytest.raises(DataError, match="cannot be loaded"):
            read_table(file, "y")
    file.write_bytes(whole.replace(b"(3, 2), }", b"(3, 9999999999999999), }"[:9] + b""))
    with pytest.raises(DataError, match="cannot be loaded"):
        read_table(file, "y")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("X.npy", pickle.dumps(Trap()))
    with pytest.raises(DataError, match="cannot be loaded"):
        read_table(file, "y")


def test_a_shape_larger_than_the_archive_takes_no_memory(tmp_path):
    np.save(tmp_path / "t.npy", X)
    content = (tmp_path / "t.npy").read_bytes().replace(b"(3, 2), }             ", b"(3000000000000, 2), } ")
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive:
        archive.writestr("X.npy", content)
    with pytest.raises(DataError, match="does not fit into"):
        read_table(tmp_path / "t.npz", 0)


def test_npy_with_gaps(tmp_path):
    rows = np.column_stack([X, Y])
    np.save(tmp_path / "t.npy", np.insert(rows, 1, [1, np.nan, 2], axis=0))
    with pytest.raises(DataError, match="row 1, column 1 is nan.*missing='drop'"):
        read_table(tmp_path / "t.npy", 2)
    table = read_table(tmp_path / "t.npy", 2, ReadOptions(missing="drop"))
    holds(table, ["column 0", "column 1"], ["1 of 4 rows"])
    np.save(tmp_path / "t.npy", np.insert(rows, 1, [1, np.inf, 2], axis=0))
    with pytest.raises(DataError, match="row 1, column 1 is inf"):
        read_table(tmp_path / "t.npy", 2, ReadOptions(missing="drop"))


def test_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "t.parquet"

    def save(**columns):
        table = pa.table(columns)
        pq.write_table(table, file, row_group_size=2 if len(table) < 10 else 50_000)
        return file

    holds(read_table(save(a=X[:, 0], b=X[:, 1], y=Y), "y"))
    many = np.arange(200_000.0)
    found = read_table(save(a=many.astype("f4"), b=many.astype("i4") % 7, y=many % 2 == 0), "y")
    np.testing.assert_array_equal(found.X, np.column_stack([many, many % 7]))
    np.testing.assert_array_equal(found.y, many % 2 == 0)
    assert read_table(save(a=X[:, 0].astype("f4"), y=X[:, 1].astype("f4")), "y").X.dtype == np.float32
    labels = pa.array(["no", "yes", "no"]).dictionary_encode()
    assert read_table(save(a=X[:, 0], y=labels), "y", takes_labels=True).y.tolist() == ["no", "yes", "no"]
    when = [datetime.date(2024, 1, day) for day in (1, 2, 3)]
    save(a=X[:, 0], b=X[:, 1], when=when, y=Y)
    with pytest.raises(DataError, match=r"column 2 \(when\) is of type date32.*A date is no number.*drop=2"):
        read_table(file, "y")
    holds(read_table(file, "y", ReadOptions(drop=("when",))))
    with pytest.raises(DataError, match=r"column 1 \(b\) is of type string"):
        read_table(save(a=X[:, 0], b=["1", "2", "3"], y=Y), "y")
    save(a=pa.array([1.5, None, 3.25, -7]), b=pa.array([-2, 5, 1000, 0.125]), y=[10, 5, -0.5, 4])
    with pytest.raises(DataError, match=r"row 1, column 0 \(a\) is nan"):
        read_table(file, "y")
    holds(read_table(file, "y", ReadOptions(missing="drop")), notes=["1 of 4 rows"])
    with pytest.raises(DataError, match=r"row 1, column 1 \(y\) is empty"):
        read_table(save(a=[1, 2], y=["yes", None]), "y", takes_labels=True)
    whole = save(a=many, y=many).read_bytes()
    for length in (4, 100, len(whole) - 5):
        file.write_bytes(whole[:length])
        with pytest.raises(DataError, match="cannot be read as Parquet"):
            read_table(file, "y")
    damaged = bytearray(whole)
    damaged[100:400] = bytes(300)
    file.write_bytes(damaged)
    with pytest.raises(DataError):
        read_table(file, "y")
    with pytest.raises(DataError, match="no rows"):
        read_table(save(a=many[:0], y=many[:0]), "y")


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "t.parquet").write_bytes(b"PAR1" + bytes(50))
    with pytest.raises(DataError, match=r"pip install 'numbasgd\[data\]'"):
        read_table(tmp_path / "t.parquet", 0)


def test_a_folder_of_files_is_one_table(tmp_path, write):
    lines = ROWS.splitlines(keepends=True)
    for i, line in enumerate(lines):
        write("a,b,y\n" + line, f"parts/part-{i}.csv")
    write("", "parts/_SUCCESS")
    write("x", "parts/.part-0.csv.crc")
    write("about it", "parts/README.md")
    holds(read_table(tmp_path / "parts", "y"), notes=["3 files are read as one table"])
    assert read_table(write("a,y\n1,2\n", "one/a.csv").parent, "y").X.tolist() == [[1.0]]
    np.save(write("", "npy/a.npy"), np.column_stack([X, Y])[:2])
    np.save(write("", "npy/b.npy"), np.column_stack([X, Y])[2:])
    holds(read_table(tmp_path / "npy", -1), ["column 0", "column 1"], ["2 files"])
    write("a,y\n1,1\n", "mixed/0.csv"), write("a,y\n2,one\n", "mixed/1.csv")
    assert read_table(tmp_path / "mixed", "y", takes_labels=True).y.tolist() == ["1", "one"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.csv": "a,y\n1,2\n", "b.csv": "a,z\n1,2\n"}, "b.csv has the column 1 'z', which is 'y' in a.csv"),
        ({"a.csv": "a,y\n1,2\n", "b.csv": "1,2,3\n"}, "b.csv has 3 columns, and 2 are in a.csv"),
        ({"a.csv": "a,y\n1,2\n", "b.csv": "a,y\n1,x\n"}, r"b.csv, line 2, column 1 \(y\) is 'x'"),
        ({"a.csv": "a,y\n1,2\n", "b.npy": b"\x93NUMPY"}, r"several kinds \(.csv, .npy\)"),
        ({"manifest.json": "{}", "X-00000.npy": b"\x93NUMPY"}, "manifest.json is damaged"),
        ({"notes.md": ""}, "without a file of a table"),
    ],
)
def test_bad_folders(files, message, tmp_path, write):
    for name, content in files.items():
        write(content, f"parts/{name}")
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "parts", "y")


def test_columns_of_a_fit_are_found_by_name(write):
    file = write("y,b,extra,a\n10,-2,x,1.5\n-0.5,1000,,3.25\n4,0.125,z,-7\n")
    table = read_table(file, None, features=["a", "b"])
    np.testing.assert_array_equal(table.X, X)
    assert table.y is None and "2 column(s) that the fit does not know are left out: y, extra" in table.notes[0]
    with pytest.raises(ValueError, match="no column 'aa'; expected the 2 columns.*The nearest is 'a'"):
        read_table(file, None, features=["aa", "b"])
    with pytest.raises(ValueError, match="no column 'b'"):
        read_table(file, None, ReadOptions(drop=("b",)), features=["a", "b"])
    assert read_table(file, None, ReadOptions(drop=("extra", "y")), features=["a", "b"]).notes == []
    with pytest.raises(ValueError, match="has 2 columns 'a'"):
        read_table(write("a,b,a,c\n1,2,3,4\n"), None, features=["a", "b"])


def test_progress_is_told(write):
    seen = []
    file = write("a,y\n" + "1,2\n" * 20_000)
    read_table(file, "y", progress=lambda *args: seen.append(args))
    size = file.stat().st_size
    assert len(seen) >= 4 and seen[-1] == (size, size, "bytes")
    assert all(before[0] <= after[0] for before, after in zip(seen, seen[1:], strict=False))


@pytest.fixture
def through_pyarrow(monkeypatch):
    """Reads small files as large ones are read."""
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(arrow_text, "LARGE", 0)
    monkeypatch.setattr(arrow_text, "_BLOCK", 1 << 10)


@pytest.mark.parametrize(("content", "columns", "notes"), [(*c[:2], c[2:]) for c in READ.values()], ids=READ)
def test_pyarrow_reads_the_same(content, columns, notes, write, through_pyarrow):
    holds(read_table(write(content), -1), columns or ("a", "b"), notes)


def test_pyarrow_reads_gaps_labels_and_long_files_the_same(write, through_pyarrow, monkeypatch):
    rng = np.random.default_rng(1)
    scaled = rng.standard_normal((500, 3)) * 10.0 ** rng.integers(-300, 300, (500, 3))
    numbers = [[repr(x) for x in row] for row in scaled.tolist()]
    gaps = rng.random((500, 3)) < 0.05
    rows = [
        ["NA" if gap else x for x, gap in zip(*row, strict=True)] for row in zip(numbers, gaps, strict=True)
    ]
    lines = [f"{a},{b},x{i},{c},'k {i % 3}'" for i, (a, b, c) in enumerate(rows)]
    file = write("a,b,skip,c,y\r\n" + "\r\n".join(lines))
    options = ReadOptions(drop=("skip",), missing="keep")
    careful = text._careful
    monkeypatch.setattr(text, "_careful", lambda *args: pytest.fail("cell by cell"))
    found = read_table(file, "y", options, takes_labels=True)
    monkeypatch.setattr(text, "_careful", careful)
    monkeypatch.setattr(arrow_text, "LARGE", 1 << 40)
    expected = read_table(file, "y", options, takes_labels=True)
    np.testing.assert_array_equal(found.X, expected.X)
    np.testing.assert_array_equal(found.X, np.where(gaps, np.nan, scaled))
    assert found.y.tolist() == expected.y.tolist() and found.is_complete.sum() == (~gaps.any(axis=1)).sum()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,y\n1,2\n1,2,3\n", r"line 3 has 3 cell\(s\)"),
        ("a,y\n1,2\n\n1_0,2\n", "line 4, column 0"),
        ("a,y\n1,2\ninf,2\n", "line 3, column 0"),
        ("a,y\n1,2\nnull,2\n", "line 3, column 0"),
        ("a,y,\n" + "1,2,\n" * 30 + "3,4,5\n", r"line 32 has 3 cell"),
    ],
)
def test_what_pyarrow_refuses_is_named_all_the_same(content, message, write, through_pyarrow):
    with pytest.raises(DataError, match=message):
        read_table(write(content), "y")


def test_labels_with_quotes_are_the_same_by_both_parsers(write, through_pyarrow):
    file = write('a,y\n1, "b c"\n2,"say ""no"""\n3,"two\nlines"\n')
    assert read_table(file, "y", takes_labels=True).y.tolist() == ["b c", 'say "no"', "two\nlines"]
