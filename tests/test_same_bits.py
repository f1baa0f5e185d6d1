"""The comparison of two checkouts: its cases cover what they say, and a difference is reported."""

import itertools

import numpy as np
import pytest

from bench import paired_training, pairwise, same_bits, training_cases, training_runs

FACTORS = {"a": (0, 1, 2), "b": (False, True), "c": ("x", "y", "z", "u"), "d": (None, 1)}


def not_two_with_y(a, x, b, y):
    return not ((a, x) == ("a", 2) and (b, y) == ("c", "y"))


def test_a_covering_has_every_allowed_pair_and_no_other():
    cases = pairwise.covering(FACTORS, not_two_with_y, seed=0)
    met = set().union(*(pairwise.pairs_of(case, list(FACTORS)) for case in cases))
    wanted = {
        (a, x, b, y)
        for a, b in itertools.combinations(FACTORS, 2)
        for x in FACTORS[a]
        for y in FACTORS[b]
        if (a, x, b, y) != ("a", 2, "c", "y")
    }
    assert met == wanted
    assert len(cases) < 3 * 2 * 4 * 2 / 2
    assert cases == pairwise.covering(FACTORS, not_two_with_y, seed=0)


def test_a_covering_from_starts_takes_nothing_but_them():
    starts = [{"a": 0, "b": True}, {"a": 1, "b": False}, {"a": 2, "b": True}]
    cases = pairwise.covering(FACTORS, not_two_with_y, 0, starts)
    assert all({"a": case["a"], "b": case["b"]} in starts for case in cases)
    met = set().union(*(pairwise.pairs_of(case, list(FACTORS)) for case in cases))
    assert {("a", 1, "c", c) for c in FACTORS["c"]} <= met
    assert ("a", 2, "c", "y") not in met


def test_a_pair_that_no_case_can_have_is_an_error():
    def is_allowed(a, x, b, y):  # c = "x" leaves no value of d
        return not (a == "c" and x == "x" and b == "d")

    with pytest.raises(ValueError, match="no case has a=0 with c='x'"):
        pairwise.covering(FACTORS, is_allowed, seed=0)


def test_every_value_of_every_factor_meets_the_base_case():
    cases = {training_cases.name_of(case) for case in training_cases.base_and_each_value()}
    assert {
        "squared",
        "squared d=784",
        "squared order=memmap",
        "softmax-40",
        "squared momentum=nesterov",
    } <= cases
    assert len(cases) == 1 + sum(len(values) - 1 for values in training_cases.FACTORS.values()) - 2


def test_what_differs_is_named_with_both_texts_and_what_the_cases_share(capsys):
    a = {
        "squared d=1 lr=auto": {"w": "1", "b": "2", "error": "TypeError: old"},
        "squared d=5 lr=auto": {"w": "1", "b": "2"},
        "hinge d=1": {"w": "1", "b": "2"},
        "hinge only here": {},
    }
    b = {
        "squared d=1 lr=auto": {"w": "3", "b": "2", "error": "TypeError: new"},
        "squared d=5 lr=auto": {"w": "1", "b": "2", "loss": "4"},
        "hinge d=1": {"w": "1", "b": "2"},
    }
    assert same_bits.report(a, b, "Trained") == {
        "squared d=1 lr=auto": ["w", "error"],
        "squared d=5 lr=auto": ["loss"],
    }
    printed = capsys.readouterr().out
    assert "3 cases in common, 2 differ" in printed
    assert "A: TypeError: old" in printed and "B: TypeError: new" in printed
    assert "only A has 1 cases" in printed
    assert "all of these have: squared, lr=auto" in printed


def test_a_digest_tells_the_last_bit_the_sign_of_zero_the_shape_and_the_dtype():
    values = [0.0, -0.0, 1.0, np.nextafter(1.0, 2), [1.0], [[1.0]], np.float32(1), None]
    assert len({training_runs.digest(value) for value in values}) == len(values)


@pytest.mark.parametrize("stop", training_cases.OTHER_FACTORS["stop"])
def test_a_run_that_is_stopped_and_goes_on_gives_what_a_whole_one_gives(stop, tmp_path):
    case = {**training_cases.BASE, "n": 200, "eval_every": 317}
    whole = training_runs.run_case(case, tmp_path, tmp_path / "whole.fit")
    found = training_runs.run_case({**case, "stop": stop}, tmp_path, tmp_path / "run.fit")
    assert "error" not in found
    if stop in ("interrupt", "between evaluations"):
        assert found["stopped: w"] != whole["w"]
    if stop == "checkpoint":
        assert (found["stopped: w"], found["file: w"]) == (whole["w"], whole["w"]) != (found["w"], found["w"])
    if stop in ("fewer epochs", "between evaluations"):
        assert {key: found[key] for key in ("w", "b", "loss")} == {
            key: whole[key] for key in ("w", "b", "loss")
        }


def test_the_ratio_is_that_of_pairs():
    found = paired_training.ratio_of([(1.0, 2.0), (10.0, 20.0), (4.0, 8.0)])
    assert found == {"ratio": 2.0, "low": 2.0, "high": 2.0, "A": 4.0, "B": 8.0}
