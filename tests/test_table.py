"""Users' own tables: every form that is read, and an error with the line for every one that is not."""

import gzip
import os
import pickle
import threading

import numpy as np
import pytest
from child import run_python
from hypothesis import given, settings
from hypothesis import strategies as st

from numbasgd import DataError
from numbasgd.data import ReadOptions, load_table, text
from numbasgd.data.read_options import Wanted

X = np.array([[1.5, -2.0], [3.25, 1e-3], [-7.0, 0.125]])
Y = np.array([10.0, -0.5, 4e5])
NEEDS_DEV = pytest.mark.skipif(not os.path.exists("/dev/stdin"), reason="no /dev/stdin on this platform")


@pytest.fixture
def write(tmp_path):
    def write(content, name="data.csv"):
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    return write


def check(file, target, names):
    found = load_table(file, target)
    np.testing.assert_array_equal(found[0], X)
    np.testing.assert_array_equal(found[1], Y)
    assert found[2] == names
    assert found[0].flags.c_contiguous and found[0].flags.writeable and found[1].flags.c_contiguous


GOOD = {
    "comma": "a,b,y\n1.5,-2,10\n3.25,1e-3,-0.5\n-7,.125,4e5\n",
    "semicolon": "a;b;y\n1.5;-2;10\n3.25;1e-3;-0.5\n-7;.125;4e5\n",
    "tab": "a\tb\ty\n1.5\t-2\t10\n3.25\t1e-3\t-0.5\n-7\t.125\t4e5\n",
    "spaces": "a b   y\n  1.5 -2 10\n3.25   1e-3 -0.5  \n-7 .125 4e5",
    "windows": "\ufeffa,b,y\r\n1.5,-2,10\r\n3.25,1e-3,-0.5\r\n-7,.125,4e5\r\n",
    "old mac": "a,b,y\r1.5,-2,10\r3.25,1e-3,-0.5\r-7,.125,4e5\r",
    "blank lines": "\n\na,b,y\n\n1.5,-2,10\n   \n3.25,1e-3,-0.5\n-7,.125,4e5\n\n\n",
    "quoted": '"a","b","y"\n"1.5","-2", "10"\n"3.25",1e-3,-0.5\n-7,.125,4e5\n',
    "spaced": " a , b , y \n 1.5 , -2 , 10 \n3.25, 1e-3, -0.5\n-7, .125, 4e5\n",
    "savetxt": "# a b y\n1.5 -2 10\n3.25 1e-3 -0.5\n-7 .125 4e5\n",
    "savetxt comma": "# made today, by hand\n# a,b,y\n1.5,-2,10\n3.25,1e-3,-0.5\n-7,.125,4e5\n",
    "comment and header": "# made today\na,b,y\n1.5,-2,10\n3.25,1e-3,-0.5\n-7,.125,4e5\n",
}


@pytest.mark.parametrize("content", GOOD.values(), ids=GOOD.keys())
@pytest.mark.parametrize("target", ["y", 2, -1, "-1", "2"])
def test_text_with_names(content, target, write):
    check(write(content), target, ["a", "b"])


@pytest.mark.parametrize("delimiter", [",", ";", "\t", " ", "    ", ", "])
def test_text_without_names(delimiter, write):
    lines = (delimiter.join(repr(float(x)) for x in row) for row in np.column_stack((Y, X)))
    file = write("\n".join(lines))
    check(file, 0, ["column 1", "column 2"])
    check(file, "column 0", ["column 1", "column 2"])


def test_names_that_hold_a_delimiter_a_line_end_or_nothing(write):
    file = write(',"b, or\nnot b",y\n1.5,-2,10\n3.25,1e-3,-0.5\n-7,.125,4e5\n')
    check(file, "y", ["column 0", "b, or\nnot b"])


def test_another_delimiter_in_a_name_is_part_of_it(write):
    check(write("a;m,b,y\n1.5,-2,10\n3.25,1e-3,-0.5\n-7,.125,4e5\n"), "y", ["a;m", "b"])
    check(write("a, m;b;y\n1.5;-2;10\n3.25;1e-3;-0.5\n-7;.125;4e5\n"), "y", ["a, m", "b"])


def test_one_row(write):
    found = load_table(write("1,2,3\n"), 0)
    np.testing.assert_array_equal(found[0], [[2.0, 3.0]])
    np.testing.assert_array_equal(found[1], [1.0])


BAD = {
    "word": ("a,b,y\n1,2,3\n4,x5,6\n", r"line 3, column 1 \(b\) is 'x5'; expected a finite number"),
    "missing": ("a,b,y\n1,2,3\n4,,6\n", r"line 3, column 1 \(b\) is empty"),
    "missing at the end": ("1,2,3\n4,5,\n", "line 2, column 2 is empty"),
    "not available": ("1 2 3\n4 NA 6\n", "line 2, column 1 is 'NA'"),
    "nan": ("a;y\n1;2\nnan;3\n", r"line 3, column 0 \(a\) is 'nan'; expected a finite number"),
    "infinite": ("1,2\n1e999,3\n", "line 2, column 0 is '1e999'"),
    "underscore": ("1,2\n1_000,3\n", "line 2, column 0 is '1_000'"),
    "decimal comma and point": ("a;y\n1.5;2\n1,5;2\n", "line 3, column 0 .a. is '1,5'.*with a point"),
    "short row": ("a,b,y\n1,2,3\n4,5\n", r"line 3 has 2 cell\(s\); expected 3"),
    "long row": ("1,2\n3,4\n5,6,7\n", r"line 3 has 3 cell\(s\); expected 2"),
    "short names": ("a,b\n1,2,3\n4,5,6\n", r"line 2 has 3 cell\(s\); expected 2"),
    "names and numbers": ("a,1990\nb,2\n", "line 1, column 0 is 'a'.*If line 1 is a header"),
    "after quoted line ends": ('a,"b\nc"\n1,2\n3,x\n', "line 4, column 1"),
    "blank lines count": ("\n1,2\n\n3,x\n", "line 4, column 1"),
    "one column": ("1\n2\n", r"has 1 column\(s\); expected at least 2"),
    "names only": ("a,b\n", "has column names in line 1 but no rows"),
    "comment only": ("# nothing\n", "has no rows"),
    "mark only": ("\ufeff", "has no rows"),
    "empty": ("", "is empty"),
    "blank": (" \n\n", "is empty"),
    "long field": ("1," + "2" * 200_000 + "\n3,x\n", "line 1: field larger than"),
    "latin": (b"1,2\n3,\xe9\n", "line 2, column 1"),
    "utf-16 without a mark": ("1,2\n".encode("utf-16-le"), "UTF-16"),
    "binary": (b"\x7fELF\0\0\0", "binary"),
    "gzip": (gzip.compress(b"1,2\n"), "compressed"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD.keys())
def test_bad_text(content, message, write):
    file = write(content)
    with pytest.raises(DataError, match=message) as caught:
        load_table(file, -1)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("hight", ValueError, "Did you mean 'height'"),
        ("nowhere near", ValueError, "expected one of 'height', 'width', 'twice', 'twice'"),
        ("twice", ValueError, "the name of 2 columns"),
        (4, ValueError, "target is 4; expected an integer from -4 to 3"),
        ("-5", ValueError, "target is -5"),
        (1.0, TypeError, "target is 1.0"),
        (True, TypeError, "target is True"),
        (None, TypeError, "target is None"),
    ],
)
def test_bad_target(target, error, message, write):
    file = write("height,width,twice,twice\n1,2,3,4\n")
    with pytest.raises(error, match=message):
        load_table(file, target)


def test_name_goes_before_position(write):
    file = write("# 1 0\n5 6\n7 8\n")
    np.testing.assert_array_equal(load_table(file, "0")[1], [6.0, 8.0])
    np.testing.assert_array_equal(load_table(file, 0)[1], [5.0, 7.0])


def test_missing_file_folder_and_wrong_type(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        load_table(tmp_path / "gone.csv", 0)
    with pytest.raises(DataError, match="directory"):
        load_table(tmp_path, 0)
    with pytest.raises(TypeError, match="path is a ndarray"):
        load_table(X, 0)


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f8", "i2", "f2", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(dtype, order, tmp_path):
    table = np.asarray(np.arange(12).reshape(4, 3) % 5, dtype=dtype, order=order)
    np.save(tmp_path / "t.npy", table)
    found_X, found_y, names = load_table(str(tmp_path / "t.npy"), 1)
    np.testing.assert_array_equal(found_X, table[:, [0, 2]])
    np.testing.assert_array_equal(found_y, table[:, 1])
    assert found_X.dtype == found_y.dtype == (np.float32 if dtype in ("f4", "f2") else np.float64)
    assert found_X.flags.c_contiguous and found_X.flags.writeable and found_y.flags.writeable
    assert names == ["column 0", "column 2"]


def saved(tmp_path, array, **options):
    np.save(tmp_path / "t.npy", array, **options)
    return tmp_path / "t.npy"


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (np.zeros(3), DataError, "1 dimension.*expected 2-D"),
        (np.zeros((2, 2, 2)), DataError, "3 dimension"),
        (np.zeros((0, 3)), DataError, "no rows"),
        (np.zeros((3, 0)), DataError, "expected at least 2|no rows|cannot be loaded"),
        (np.zeros((3, 1)), DataError, "expected at least 2"),
        (np.zeros((2, 2), complex), TypeError, "complex128"),
        (np.array([["1", "2"]]), TypeError, "<U1"),
        (np.zeros(2, [("a", "f8"), ("b", "f8")]), DataError, "1 dimension"),
    ],
)
def test_bad_npy(array, error, message, tmp_path):
    with pytest.raises(error, match=message):
        load_table(saved(tmp_path, array), 0)


class Trap:
    def __reduce__(self):
        return pytest.fail, ("it was unpickled",)


def test_pickles_are_never_loaded(tmp_path, write):
    trap = np.array([[Trap(), 1.0]], dtype=object)
    with pytest.raises(DataError, match="never loaded"):
        load_table(saved(tmp_path, trap, allow_pickle=True), 0)
    for name in ("pickle.npy", "pickle.csv"):
        with pytest.raises(DataError):
            load_table(write(pickle.dumps(Trap()), name), 0)


def test_damaged_npy_and_archives(tmp_path, write):
    whole = saved(tmp_path, np.zeros((9, 9))).read_bytes()
    for length in (6, 9, 40, 128, len(whole) - 1):
        with pytest.raises(DataError, match="cannot be loaded"):
            load_table(write(whole[:length], "cut.npy"), 0)
    huge = whole.replace(b"(9, 9), }", b"(9999999999999, 9), }")
    with pytest.raises(DataError, match="cannot be loaded"):
        load_table(write(huge, "huge.npy"), 0)
    with pytest.raises(DataError, match="in spite of its name"):
        load_table(write("1,2\n", "text.npy"), 0)


def test_long_files_take_the_fast_way(write, monkeypatch):
    monkeypatch.setattr(text, "_careful", lambda *args: pytest.fail("cell by cell"))
    for content in (GOOD["comma"], GOOD["tab"], GOOD["spaces"], GOOD["windows"], GOOD["savetxt"]):
        check(write(content), -1, ["a", "b"])


numbers = st.floats(-1e300, 1e300)
tables = st.lists(st.lists(numbers, min_size=2, max_size=2), min_size=1, max_size=5)


@settings(max_examples=50, deadline=None)
@given(rows=tables, delimiter=st.sampled_from([",", ";", "\t", " "]), form=st.sampled_from(["r", ".3e", "g"]))
def test_both_ways_read_the_same_numbers(rows, delimiter, form, tmp_path_factory):
    file = tmp_path_factory.mktemp("both") / "t.csv"
    cells = [[repr(x) if form == "r" else format(x, form) for x in row] for row in rows]
    file.write_text("\n".join(delimiter.join(row) for row in cells))
    layout = text.find_layout(file, ReadOptions(delimiter="space" if delimiter == " " else delimiter))
    wanted = Wanted([0], [1], False, False)
    expected = np.array([[float(cell) for cell in row] for row in cells])
    for read in (text._fast, text._careful):
        found_X, found_y, labels = read(file, layout, wanted)
        np.testing.assert_array_equal(np.hstack([found_X, found_y]), expected)
        assert labels is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this platform")
@pytest.mark.parametrize("kind", ["text", "npy"])
def test_a_pipe_gives_every_row(tmp_path, kind):
    """More rows than any buffer holds, through a pipe that can be read once."""
    table = np.arange(60_000.0).reshape(20_000, 3)
    np.save(tmp_path / "t.npy", table)
    np.savetxt(tmp_path / "t.text", table, delimiter=",", header="a,b,c", comments="")
    content = (tmp_path / f"t.{kind}").read_bytes()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    found_X, found_y, _ = load_table(pipe, 1)
    writer.join()
    np.testing.assert_array_equal(found_X, table[:, [0, 2]])
    np.testing.assert_array_equal(found_y, table[:, 1])


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("-", GOOD["comma"]),
        ("-", GOOD["spaces"]),
        ("-", "1,2\nx,3\n"),
        pytest.param("/dev/stdin", GOOD["comma"], marks=NEEDS_DEV),
        pytest.param("/dev/stdin", GOOD["spaces"], marks=(NEEDS_DEV, pytest.mark.slow)),
        pytest.param("/dev/stdin", "1,2\nx,3\n", marks=NEEDS_DEV),
    ],
)
def test_standard_input(path, content):
    code = f"""
        import sys
        from numbasgd import DataError
        from numbasgd.data import load_table
        try:
            print(load_table({path!r}, -1)[0].tolist())
        except DataError as error:
            print(error)
    """
    told = run_python(code, stdin=content)
    if "x" in content:
        assert told.startswith(f"{'standard input' if path == '-' else path}, line 2, column 0 is 'x'")
    else:
        assert told == f"{X.tolist()}\n"


def test_a_pipe_that_finds_no_room_is_an_error(tmp_path):
    told = run_python(
        """
        import tempfile
        tempfile.tempdir = "no/such/folder"
        from numbasgd.data import load_table
        try:
            load_table("-", 0)
        except OSError as error:
            print(type(error).__name__, error)
        """,
        stdin="1,2\n",
        cwd=tmp_path,
    )
    assert told.startswith("DataError standard input is a pipe, and its content cannot be kept")
    assert "no/such/folder" in told and "Save it to a file first" in told
