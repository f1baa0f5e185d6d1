"""Verdicts between two kinds of machine: what is expected of a case, and how often it is called.

The calibration takes files of three kinds of machine, makes copies with known changes, and counts.
"""

import copy
import math
from dataclasses import replace
from functools import cache
from itertools import permutations
from pathlib import Path
from random import Random

import numpy as np
import pytest

from numbasgd.compare import expected
from numbasgd.compare.comparison import compare
from numbasgd.compare.estimate import CANNOT_TELL, FASTER, SAME, SLOWER, Estimate
from numbasgd.compare.expected import LEAST_CASES, MOST_CASES, Traits, expected_ratios
from numbasgd.compare.measures import Side
from numbasgd.compare.reading import read
from numbasgd.render.case_tables import case_tables
from numbasgd.render.ci_log import failures, lines
from numbasgd.render.comparison_text import reading, words

ROOT = Path(__file__).parent
KINDS = {
    "zen4": ROOT.parent / "bench/results/amd-epyc-zen4-2cores.json",
    "zen5": ROOT.parent / "bench/results/amd-epyc-zen5-2cores.json",
    "emerald": ROOT / "data/intel-emeraldrapids-2cores.json",
}
SIGNS = {FASTER: 1, SLOWER: -1}


@cache
def machine(kind):
    return read(KINDS[kind])


def cases(n, random, scatter=0.02, families=1):
    """Ratios of ``n`` cases in families that went their own ways, by a factor of 1.5 from one to the next."""
    ratios, kin = {}, {}
    for i in range(n):
        family = i % families
        ratios[str(i)] = Estimate(1.5**family * math.exp(random.gauss(0, scatter)), 0.01)
        kin[str(i)] = Traits((f"kind {family}", "one", "roofline"), "full", 16.0 + i % 5, -1.0)
    return ratios, kin


def test_too_few_cases_tell_nothing():
    ratios, kin = cases(LEAST_CASES, Random(1))
    assert expected_ratios(ratios, kin).keys() == ratios.keys()
    assert expected_ratios({**ratios, "3": Estimate(1.0, None)}, kin) == {}, "one round has no error"


def test_each_family_is_expected_to_go_its_own_way():
    found = expected_ratios(*cases(90, Random(2), families=3))
    for id_, ratio in found.items():
        assert ratio.value == pytest.approx(1.5 ** (int(id_) % 3), rel=0.03)
        assert 0.02 < ratio.error < 0.1


def test_a_case_has_no_part_in_what_is_expected_of_it():
    ratios, kin = cases(60, Random(3))
    before = expected_ratios(ratios, kin)["7"]
    after = expected_ratios({**ratios, "7": Estimate(20.0, 0.01)}, kin)["7"]
    assert after.value == pytest.approx(before.value, rel=0.01)
    assert after.error == pytest.approx(before.error, rel=0.2)


def test_few_that_changed_leave_the_others_as_they_were():
    ratios, kin = cases(100, Random(4))
    changed = {str(i): Estimate(2.5 * ratios[str(i)].value, 0.01) for i in range(0, 100, 8)}
    before, after = expected_ratios(ratios, kin), expected_ratios({**ratios, **changed}, kin)
    for id_ in ratios:
        assert after[id_].value == pytest.approx(before[id_].value, rel=0.02)
        assert after[id_].error < 1.5 * before[id_].error


def test_a_common_factor_is_expected_of_all_and_swapped_sides_invert_everything():
    ratios, kin = cases(60, Random(5), 0.1, 2)
    plain = expected_ratios(ratios, kin)
    faster = expected_ratios({i: Estimate(3 * r.value, r.error) for i, r in ratios.items()}, kin)
    swapped = expected_ratios({i: r.inverse() for i, r in ratios.items()}, kin)
    for id_, one in plain.items():
        assert faster[id_].value == pytest.approx(3 * one.value)
        assert swapped[id_].value == pytest.approx(1 / one.value)
        assert faster[id_].error == pytest.approx(one.error) == pytest.approx(swapped[id_].error)


def test_a_noisy_measurement_widens_its_own_interval_alone():
    ratios, kin = cases(60, Random(6))
    noisy = expected_ratios({**ratios, "7": replace(ratios["7"], error=0.5)}, kin)
    plain = expected_ratios(ratios, kin)
    assert noisy["7"].error >= 0.5 > 4 * plain["7"].error
    assert noisy["8"].error == pytest.approx(plain["8"].error, rel=0.1)


def test_equal_ratios_are_expected_to_be_equal():
    ratios, kin = cases(30, Random(7), scatter=0)
    assert all(r.value == pytest.approx(1.0) and r.error < 0.05 for r in expected_ratios(ratios, kin).values())


def test_many_cases_are_predicted_in_blocks(monkeypatch):
    """The time grows with the cube of a block and with the number of blocks."""
    sizes, inverse = [], np.linalg.inv
    monkeypatch.setattr(expected.np.linalg, "inv", lambda a: sizes.append(len(a)) or inverse(a))
    found = expected_ratios(*cases(5 * MOST_CASES // 2, Random(8)))
    assert len(found) == 5 * MOST_CASES // 2
    assert max(sizes) <= MOST_CASES and len(sizes) == 3 * expected.SWEEPS


def scaled(file, factors, kind=None):
    """A copy whose times are multiplied; ``kind`` names another kind of CPU."""
    fingerprint = copy.deepcopy(file.fingerprint)
    if kind:
        fingerprint["cpu"]["model"] = kind
    found = [
        replace(c, median=c.median * f, q1=c.q1 and c.q1 * f, q3=c.q3 and c.q3 * f)
        for c, f in zip(file.cases, factors, strict=True)
    ]
    return replace(file, name="copy", cases=tuple(found), fingerprint=fingerprint)


def judged(a, b):
    """The change of each case that can be called."""
    rows = compare([Side("a", (a,)), Side("b", (b,))]).rows
    found = {r.id: r.changes[0] for r in rows}
    return {i: c for i, c in found.items() if c.verdict in (*SIGNS, SAME, CANNOT_TELL) and c.low is not None}


class Count:
    """How many of the changed cases are called in the right direction, and of the others in whichever."""

    def __init__(self):
        self.changed = self.called = self.others = self.false = 0

    def add(self, file, factors, found, before):
        for case, factor in zip(file.cases, factors, strict=True):
            if case.id not in found:
                continue
            sign = SIGNS.get(found[case.id].verdict, 0)
            if factor != 1:
                self.changed += 1
                self.called += sign == (-1 if factor > 1 else 1)
            else:
                self.others += 1
                self.false += sign not in (0, SIGNS.get(before[case.id].verdict) if before else None)

    @property
    def power(self):
        return self.called / self.changed

    @property
    def false_calls(self):
        return self.false / self.others


def changes(random, n, part):
    """Factors of the times of ``n`` cases: ``part`` of them slower or faster by 1.5 to 3 times."""
    return [
        math.exp(random.uniform(math.log(1.5), math.log(3)) * random.choice((-1, 1)))
        if random.random() < part
        else 1.0
        for _ in range(n)
    ]


def noisy(random, factors, noise):
    return [f * math.exp(random.gauss(0, noise)) for f in factors]


def between_real_machines(copies, noise=0.05):
    """All ordered pairs of kinds; of each second file copies with a twentieth and a tenth of the cases changed.

    A false call is one on an untouched case that the file itself does not bring, since real machines do leave
    cases behind.
    """
    random, counts = Random(11), {}
    for a, b in permutations(KINDS, 2):
        before, count = judged(machine(a), machine(b)), Count()
        for part in (0.05, 0.1) * copies:
            factors = changes(random, len(machine(b).cases), part)
            found = judged(machine(a), scaled(machine(b), noisy(random, factors, noise)))
            count.add(machine(b), factors, found, before)
        counts[a, b] = count
    return counts


def check_real_machines(counts):
    assert sum(c.called for c in counts.values()) >= 0.8 * sum(c.changed for c in counts.values())
    for pair, count in counts.items():
        assert count.power >= 0.75, pair
        assert count.false_calls <= 0.05, pair


def test_changes_between_real_kinds_of_machine_are_called():
    check_real_machines(between_real_machines(copies=2))


@pytest.mark.slow
def test_changes_between_real_kinds_of_machine_are_called_in_many_copies():
    check_real_machines(between_real_machines(copies=10))


def between_made_up_machines(copies, noise):
    """Another kind of machine made from a file: 1.4 times as fast, and each kind of work its own way."""
    random, count = Random(12), Count()
    for kind in KINDS:
        file = machine(kind)
        for part in (0.0, 0.1) * copies:
            ways = {k: math.exp(random.gauss(0, 0.3)) for k in sorted({c.kind for c in file.cases})}
            factors = changes(random, len(file.cases), part)
            machines = [f * ways[c.kind] / 1.4 for f, c in zip(factors, file.cases, strict=True)]
            found = judged(file, scaled(file, noisy(random, machines, noise), "Other"))
            count.add(file, factors, found, None)
    return count


@pytest.mark.parametrize("noise", [0.01, 0.05, 0.1])
def test_where_cases_differ_by_noise_and_families_alone(noise):
    count = between_made_up_machines(2, noise)
    assert count.power >= 0.8 and count.false_calls <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.01, 0.03, 0.05, 0.1, 0.2])
def test_where_cases_differ_by_noise_and_families_alone_in_many_copies(noise):
    count = between_made_up_machines(8, noise)
    assert count.false_calls <= 0.05
    assert count.power >= (0.8 if noise < 0.2 else 0.6), "noise of 0.2 hides half of what changes by 1.5"


def test_products_that_fell_on_emerald_rapids_are_called():
    found = judged(machine("zen4"), machine("emerald"))
    fell = {"matmul[packed-f64-512-one]", "matmul[packed-f32-1024-one]"}
    assert {found[id_].verdict for id_ in fell} == {SLOWER}
    packed = {id_: c for id_, c in found.items() if id_.startswith("matmul[packed") and id_ not in fell}
    assert len(packed) >= 6 and {c.verdict for c in packed.values()} == {SAME}


def test_a_verdict_is_about_the_ratio_against_the_expected_one():
    found = judged(machine("zen4"), machine("emerald"))
    assert sum(c.verdict == SAME for c in found.values()) > len(found) / 3
    for change in found.values():
        assert change.departure == pytest.approx(change.ratio / change.expected)
        if change.verdict in SIGNS:
            assert not change.low < change.expected < change.high
            assert abs(math.log(change.departure)) > math.log(1.2)


def test_what_is_told_of_a_case_is_its_departure():
    found = compare([Side(kind, (machine(kind),)) for kind in ("zen4", "emerald")])
    row = next(row for row in found.rows if row.id == "matmul[packed-f32-1024-one]")
    told = f"{1 / row.changes[0].departure:.2f}x slower"
    assert words(row.changes[0]) == told and any("of its kind" in line for line in reading(found))
    failed = failures(found, 0.2)
    assert len(failed) == sum(r.changes[0].verdict == SLOWER for r in found.rows)
    (line,) = [line for line in lines(found, failed, 0.2) if row.id in line]
    assert told in line
    (table,) = [t for t in case_tables(found) if t.title == row.ladder]
    assert "B expected" in table.columns


def test_what_a_user_knows_of_noise_bounds_the_interval():
    a, b = (Side(kind, (machine(kind),)) for kind in ("zen4", "zen5"))
    plain, quiet = ({r.id: r.changes[0] for r in compare([a, b], scatter=s).rows} for s in (None, 0.02))
    called = [sum(c.verdict in SIGNS for c in found.values()) for found in (plain, quiet)]
    assert called[1] > 2 * called[0]
    assert all(c.high is None or c.high <= plain[id_].high for id_, c in quiet.items())


def test_one_file_as_two_kinds_of_machine_is_the_same():
    other = scaled(machine("zen4"), [1.0] * len(machine("zen4").cases), "Other")
    assert {c.verdict for c in judged(machine("zen4"), other).values()} == {SAME}
