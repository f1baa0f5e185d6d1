"""One test in files that name its path differently is one case; two tests never are."""

import pytest

from numbasgd.compare.comparison import compare, sides_of
from numbasgd.compare.formats.pytest_benchmark import read
from numbasgd.compare.joining import join
from numbasgd.errors import ResultFileError


def file(*names, params=(), name="a.json"):
    """A file of another project with these full names."""
    entries = [
        {"name": n.rpartition("::")[2], "fullname": n, "stats": {"median": 1.0 + i}}
        for i, n in enumerate(names)
    ]
    for one, mapping in zip(entries, params, strict=False):
        one["params"] = mapping
    return read(name, {"benchmarks": entries})


def ids(*files):
    return [[case.id for case in file.cases] for file in join(files)]


# Full names in the first file, in the second, and those of the second when they are joined.
JOINED = {
    "the same": (["t/a.py::f"], ["t/a.py::f"], ["t/a.py::f"]),
    "another root": (["t/a.py::f", "t/b.py::f"], ["b.py::f", "a.py::f"], ["t/b.py::f", "t/a.py::f"]),
    "a deeper root": (["p/x.py::f", "q/x.py::f"], ["t/q/x.py::f", "t/p/x.py::f"], ["q/x.py::f", "p/x.py::f"]),
    "another file": (["t/old.py::C::f[1]"], ["t/new.py::C::f[1]"], ["t/old.py::C::f[1]"]),
    "no path at all": (["t/a.py::f"], ["f"], ["t/a.py::f"]),
    "another parameter": (["t/a.py::f[1]"], ["a.py::f[2]"], ["a.py::f[2]"]),
    "another class": (["t/a.py::C::f"], ["a.py::D::f"], ["a.py::D::f"]),
    "two of one name here": (["t/a.py::f"], ["x/b.py::f", "x/c.py::f"], ["x/b.py::f", "x/c.py::f"]),
    "two of one name there": (["t/b.py::f", "t/c.py::f"], ["x/d.py::f"], ["x/d.py::f"]),
    "one of two joined by path": (["a.py::f", "b.py::f"], ["a.py::f", "c.py::f"], ["a.py::f", "c.py::f"]),
}  # fmt: skip


@pytest.mark.parametrize("what", JOINED)
def test_which_are_joined(what):
    first, second, joined = JOINED[what]
    assert ids(file(*first), file(*second)) == [first, joined]


def test_parameters_by_name_join_where_ids_differ():
    """Pytest has ordered stacked parametrize marks differently, and ids are free text."""
    one = file("t/a.py::f[1-x]", "t/a.py::f[2-x]", params=({"n": 1, "s": "x"}, {"n": 2, "s": "x"}))
    two = file("t/a.py::f[x-2]", "t/a.py::f[x-1]", params=({"s": "x", "n": 2}, {"s": "x", "n": 1}))
    assert ids(one, two)[1] == ["t/a.py::f[2-x]", "t/a.py::f[1-x]"]
    lists = [file(f"t/a.py::f[{i}]", params=({"x": [1, 2]},)) for i in range(2)]
    assert ids(*lists)[1] == ["t/a.py::f[1]"], "a list is told by no name"


def test_three_files_and_what_is_said_of_it():
    files = join([file("t/a.py::f", "t/a.py::g"), file("b.py::h"), file("a.py::f", "x/b.py::h", name="c.json")])
    assert [case.id for case in files[2].cases] == ["t/a.py::f", "b.py::h"]
    (remark,) = files[2].remarks
    assert "2 cases joined by name" in remark and "a.py::f is taken for t/a.py::f" in remark
    assert files[0].remarks == files[1].remarks == ()
    found = compare(sides_of(files))
    assert [[m and m.seconds.value for m in row.measures] for row in found.rows] == [[1.0, None, 1.0]]


def test_names_that_do_not_meet_are_still_an_error():
    with pytest.raises(ResultFileError, match="no case in common"):
        compare(sides_of(join([file("t/a.py::f"), file("t/a.py::g")])))
