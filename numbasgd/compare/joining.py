"""Cases of several files that are the same test, though one file names its path otherwise.

pytest writes paths as they are seen from its root folder, which differs between checkouts, configurations and
years.  So a case that another file lacks is looked for there under ever shorter names, its ``aliases``; one
counts only where it means a single case on both sides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from numbasgd.compare.results import Case, ResultFile


def join(files: Sequence[ResultFile]) -> list[ResultFile]:
    """The files, cases of later ones under the id that the same case has in an earlier one."""
    known: dict[str, Case] = {}
    joined = []
    for file in files:
        ids = _ids(file.by_id, known)
        if ids:
            cases = tuple(replace(case, id=ids.get(case.id, case.id)) for case in file.cases)
            file = replace(file, cases=cases, remarks=(*file.remarks, _remark(ids)))
        for case in file.cases:
            known.setdefault(case.id, case)
        joined.append(file)
    return joined


def _ids(cases: Mapping[str, Case], known: Mapping[str, Case]) -> dict[str, str]:
    """For each of ``cases`` whose id is not known the known id of the same case, where there is one."""
    here = {id_: case for id_, case in cases.items() if id_ not in known}
    there = {id_: case for id_, case in known.items() if id_ not in cases}
    found: dict[str, str] = {}
    for level in range(max((len(case.aliases) for case in here.values()), default=0)):
        ours, theirs = _single(cases.values(), level), _single(known.values(), level)
        for alias, id_ in ours.items():
            other = theirs.get(alias)
            if id_ in here and other in there:
                found[id_] = other
                del here[id_], there[other]
    return found


def _single(cases: Iterable[Case], level: int) -> dict[str, str]:
    """The id by the alias of that level, for the aliases that mean one case."""
    named = [(case.aliases[level], case.id) for case in cases if level < len(case.aliases)]
    count = Counter(alias for alias, _ in named)
    return {alias: id_ for alias, id_ in named if count[alias] == 1}


def _remark(ids: Mapping[str, str]) -> str:
    mine, other = next(iter(ids.items()))
    one = len(ids) == 1
    return f"{len(ids)} case{'s' * (not one)} joined by name, since paths differ; {mine} is taken for {other}"
