"""What a user may pass, and what the message says otherwise: which argument, what it was, what to do."""

import decimal
import fractions

import numpy as np
import pytest
from conftest import says

from numbasgd import check, matmul, train

HUGE = 10**400
LONGER = 10**5000  # Python writes no integer of so many digits


@pytest.mark.parametrize("number", [HUGE, -HUGE, LONGER], ids=["huge", "negative", "longer"])
def test_a_number_beyond_floats(number):
    with pytest.raises(ValueError) as caught:
        check.real(number, "lr", hint="Pass 0.1.")
    says(caught.value, "lr is ", "-10^400" if number < 0 else "10^", "expected a finite number", "Pass 0.1.")
    with pytest.raises(ValueError) as caught:
        train(lr=number)
    says(caught.value, "lr is ", "expected", "Pass a rate")


@pytest.mark.parametrize("number", [HUGE, -HUGE, LONGER, 2**63], ids=["huge", "negative", "longer", "64 bits"])
@pytest.mark.parametrize("high", [None, 10])
def test_an_integer_beyond_kernels(number, high):
    with pytest.raises(ValueError) as caught:
        check.integer(number, "n", low=0, high=high, hint="Pass 3.")
    says(caught.value, "n is ", "expected an integer", "Pass 3.")
    assert len(str(caught.value)) < 150
    assert check.integer(2**63 - 1, "n", low=0, hint="") == 2**63 - 1


def objects(*rows):
    found = np.empty((len(rows), len(rows[0])), dtype=object)
    found[:] = rows
    return found


@pytest.mark.parametrize(
    ("X", "parts"),
    [
        (objects((1, 2.5), (3, None)), ("X holds None (NoneType) at row 1, column 1", "Drop such rows")),
        (objects((1, "2"), (3, 4)), ("X holds '2' (str) at row 0, column 1", "Convert text")),
        (objects(("1", "2"), ("3", "4")), ("X holds '1' (str) at row 0, column 0", "Convert text")),
        (objects((1, b"2"), (3, 4)), ("X holds b'2' (bytes) at row 0, column 1", "Convert text")),
        (objects((1, np.str_("2")), (3, 4)), ("at row 0, column 1", "Convert text")),
        (objects((1, 2), (HUGE, 4)), ("X holds 10^400 (about) (int) at row 1, column 0", "Scale")),
        (objects((1, 2), (3, 4j)), ("X holds 4j (complex) at row 1, column 1", "Select")),
        (objects((1, 2), (3, {})), ("X holds {} (dict) at row 1, column 1", "Select")),
        ([[1, 2], [3, LONGER]], ("at row 1, column 1", "Scale")),
        ([[1, 2], [3, None]], ("X holds None (NoneType) at row 1, column 1", "Drop")),
    ],
)
def test_the_first_entry_that_is_no_number_is_named(X, parts):
    with pytest.raises(TypeError) as caught:
        train(X, [1.0, 2.0])
    says(caught.value, *parts, "expected a 2-D array of float32 or float64")


def test_a_nan_among_objects_is_found_later():
    assert np.isnan(matmul(objects((np.nan, 1), (2, 3)), np.eye(2))[0, 0])
    with pytest.raises(ValueError, match="X holds nan at row 0, column 1"):
        train(objects((1, np.nan), (2, 3)), [1.0, 2.0])


def test_numbers_of_other_types_are_taken():
    X = objects((decimal.Decimal("0.5"), fractions.Fraction(1, 4)), (True, 10**30))
    np.testing.assert_array_equal(check.array(X, "X", 2), [[0.5, 0.25], [1.0, 1e30]])


def test_dataframes_name_row_and_column():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2, 3], "b": pandas.array([4, None, 6], "Int64")})
    for y, index, place in (
        ([1.0, 2.0, 3.0], None, "row 1, column 1 ('b')"),
        ([1.0, 2.0, 3.0], ["x", "y", "z"], "row 1 ('y'), column 1 ('b')"),
    ):
        told = frame if index is None else frame.set_axis(index)
        with pytest.raises(TypeError) as caught:
            train(told, y)
        says(caught.value, f"X holds <NA> (NAType) at {place}", "expected", "Drop such rows")
    with pytest.raises(TypeError) as caught:
        train(pandas.DataFrame({"a": [1.0, 2.0], "size": ["7", "12 cm"]}), [1.0, 2.0])
    says(caught.value, "X holds '7' (str) at row 0, column 1 ('size')", "expected", "Convert text")
    y_missing = frame["b"].astype(object)  # as Int64 it becomes NaN in newer releases of pandas
    with pytest.raises(TypeError) as caught:
        train(frame[["a"]], y_missing)
    says(caught.value, "y holds <NA> (NAType) at row 1;", "expected a 1-D array", "Drop such rows")
    with pytest.raises(TypeError) as caught:
        train(frame[["a"]].set_axis([9, 8, 7]), y_missing.set_axis([9, 8, 7]))
    says(caught.value, "y holds <NA> (NAType) at row 1 (8);")
    whole = frame.dropna()
    np.testing.assert_array_equal(check.array(whole, "X", 2), [[1.0, 4.0], [3.0, 6.0]])


def test_the_hint_works_for_what_was_passed():
    pandas = pytest.importorskip("pandas")
    X, y = pandas.DataFrame(np.eye(2, 5)), pandas.DataFrame({"y": [1.0, 2.0]})
    for found in (y, y.to_numpy(), y.to_numpy().tolist()):
        with pytest.raises(ValueError, match="y has 2 dimensions") as caught:
            train(X, found, loss="logistic")
        hint = str(caught.value).rpartition("Use ")[2].rstrip(".")
        assert len(train(X, eval(hint, {"y": found, "np": np}), loss="logistic").loss) == 3
    with pytest.raises(ValueError, match="X has 1 dimension") as caught:
        train([1.0, 2.0], [1.0, 2.0])
    hint = str(caught.value).rpartition("Use ")[2].partition(" for")[0]
    assert eval(hint, {"X": [1.0, 2.0], "np": np}).shape == (2, 1)


@pytest.mark.parametrize(
    "out",
    [
        np.lib.stride_tricks.as_strided(np.zeros(1), (3, 4), (0, 0)),
        np.lib.stride_tricks.as_strided(np.zeros(4), (3, 4), (0, 8)),
        np.lib.stride_tricks.as_strided(np.zeros(9), (3, 4), (8, 8)),
        np.lib.stride_tricks.as_strided(np.zeros(20), (3, 4), (24, 8)),
        np.lib.stride_tricks.as_strided(np.zeros(20), (3, 4), (4, 16)),
    ],
)
def test_out_that_overlaps_itself(out):
    with pytest.raises(ValueError) as caught:
        matmul(np.ones((3, 2)), np.ones((2, 4)), out=out)
    says(caught.value, "out has strides", "share memory", "expected memory of its own", "Make it with np.empty")


@pytest.mark.parametrize("rung", ["element", pytest.param("packed", marks=pytest.mark.slow)])
def test_every_slice_of_an_array_is_memory_of_its_own(rung):
    base = np.zeros((9, 11))
    for out in (
        base[:3, :4],
        base.T[:3, :4],
        base[::3, ::3][:, ::-1],
        base[8::-4, 1:9:2],
        base[:3, :4].T.copy().T,
    ):
        assert (matmul(np.ones((3, 2)), np.ones((2, 4)), out=out, rung=rung) == 2).all()
    one = np.broadcast_to(base[:1, :1], (1, 1)).copy()
    assert matmul(np.ones((1, 2)), np.ones((2, 1)), out=one, rung=rung)[0, 0] == 2
    empty = np.lib.stride_tricks.as_strided(np.zeros(1), (0, 4), (0, 0))
    assert matmul(np.ones((0, 2)), np.ones((2, 4)), out=empty).shape == (0, 4)
