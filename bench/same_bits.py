"""Whether two checkouts of numbasgd train to the same bits: hashes of weights and histories, case by case.

    python -m bench.same_bits CHECKOUT_A CHECKOUT_B [--only PATTERN] [--except PATTERN] [--json FILE]

Some hundred cases (``bench.training_cases``) are run by a child process for each checkout, both at once; all
that they give is compared (``bench.training_runs``): w, b, the history, callbacks, errors and warnings.  The
cases that go on from a saved file are run once more by B from the files that A wrote.  Each checkout keeps its
compiled code in a folder of its own, so only the first comparison is slow.  Exits with 1 when anything differs,
or when nothing was compared.

PATTERN is a regular expression that is searched for in the names of the cases, for example "softmax" or
"(?=.*weights=some)(?=.*lr=auto)".
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench import checkouts, training_cases, training_runs

Results = dict[str, dict[str, str]]  # name of a case -> what it gave
_SHOWN = 40  # differing cases that are printed
_TEXT = ("error", "warnings", "train(", "noise")  # what is shown as it is, and no hash


def chosen(names: Iterable[str], only: str, but: str | None) -> list[str]:
    """The names in which ``only`` is found and ``but`` is not."""
    return [name for name in names if re.search(only, name) and not (but and re.search(but, name))]


# The child process of a checkout


def run_child(checkout: Path, folder: Path, only: str, but: str | None, theirs: Path | None) -> None:
    """Run the cases on a checkout and write what they give to ``folder``.

    theirs : folder of another checkout; then only the cases that go on from its files are run.
    """
    checkouts.use(checkout)
    cases = training_cases.all_cases()
    calls = {} if theirs else training_runs.calls()
    names = chosen([*cases, *calls], only, but)
    if theirs:
        own = json.loads((theirs / "own.json").read_text())
        names = [name for name in names if "file: w" in own[name]]
    results: Results = {}
    for number, name in enumerate(names):
        if number % 100 == 0:
            print(f"{checkout}: {number} of {len(names)}, {time.process_time():.0f} s of CPU", file=sys.stderr)
        if name in calls:
            results[name] = _of_call(calls[name], folder)
        else:
            file = theirs / file_of(name) if theirs else None
            results[name] = training_runs.run_case(cases[name], folder, folder / file_of(name), file)
    (folder / ("from_theirs.json" if theirs else "own.json")).write_text(json.dumps(results))


def _of_call(call: training_runs.Call, folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    return training_runs.recorded(lambda: found.update(call(folder)), found, folder)


def file_of(name: str) -> str:
    """The file that a case saves its run in."""
    return hashlib.sha256(name.encode()).hexdigest()[:16] + ".fit"


def start_child(
    checkout: Path, folder: Path, args: argparse.Namespace, theirs: Path | None
) -> subprocess.Popen:
    """A process that runs the cases on one checkout."""
    arguments = [str(checkout), "--child", str(folder), "--only", args.only]
    arguments += ["--except", args.but] if args.but else []
    arguments += ["--theirs", str(theirs)] if theirs else []
    return checkouts.start("bench.same_bits", checkout, checkouts.cache_of(checkout, args.cache), arguments)


def finish(children: Iterable[subprocess.Popen]) -> None:
    """Wait for them; exits when one has failed."""
    failed = [child for child in children if child.wait()]
    if failed:
        sys.exit(f"{len(failed)} of the child processes failed; what they printed is above.")


# The comparison


def differences(a: Results, b: Results) -> dict[str, list[str]]:
    """Name of a case -> what differs in it, for the cases that both have."""
    found = {}
    for name in a.keys() & b.keys():
        one, other = a[name], b[name]
        keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
        if keys:
            found[name] = keys
    return {name: found[name] for name in a if name in found}


def shared_settings(names: Iterable[str], all_names: Iterable[str]) -> list[str]:
    """The words of names that all these cases have, and not all cases."""
    names, everywhere = list(names), Counter(word for name in all_names for word in name.split())
    counts = Counter(word for name in names for word in dict.fromkeys(name.split()))
    n_all = len(list(all_names))
    return [word for word, count in counts.items() if count == len(names) and everywhere[word] < n_all]


def report(a: Results, b: Results, title: str) -> dict[str, list[str]]:
    """Print what differs, and return it."""
    found = differences(a, b)
    print(f"{title}: {len(a.keys() & b.keys())} cases in common, {len(found)} differ")
    for side, alone in (("A", a.keys() - b.keys()), ("B", b.keys() - a.keys())):
        if alone:
            print(f"  only {side} has {len(alone)} cases, for example: {min(alone)}")
    for name, keys in list(found.items())[:_SHOWN]:
        print(f"  {name}: {', '.join(keys[:12])}{', ...' * (len(keys) > 12)}")
        for key in (key for key in keys[:12] if key.startswith(_TEXT) and not key.startswith("error:")):
            print(f"    {key}\n      A: {a[name].get(key)}\n      B: {b[name].get(key)}")
    if len(found) > _SHOWN:
        print(f"  and {len(found) - _SHOWN} more")
    if len(found) > 1 and (words := shared_settings(found, list(a))):
        print(f"  all of these have: {', '.join(words)}")
    return found


def summary(results: Mapping[str, dict[str, str]]) -> str:
    """How many cases there were, and how many of them ended in an error."""
    n_errors = sum("error" in found for found in results.values())
    return f"{len(results)} cases, {n_errors} of which end in an error"


def _of_resumed(found: dict[str, str]) -> dict[str, str]:
    """What a run that goes on from a file says again, and not only one that begins."""
    return {key: value for key, value in found.items() if key != "warnings" and not key.startswith("stopped: ")}


def compare(args: argparse.Namespace, work: Path) -> int:
    """Run both checkouts and print what differs; 1 if anything does, or if nothing was compared."""
    folders = {side: work / side for side in "AB"}
    for folder in folders.values():
        folder.mkdir()
    begin = time.perf_counter()
    finish([start_child(args.A, folders["A"], args, None), start_child(args.B, folders["B"], args, None)])
    finish([start_child(args.B, folders["B"], args, folders["A"])])
    a, b = (json.loads((folder / "own.json").read_text()) for folder in folders.values())
    from_a = json.loads((folders["B"] / "from_theirs.json").read_text())
    print(f"A: {args.A}: {summary(a)}\nB: {args.B}: {summary(b)}; {time.perf_counter() - begin:.0f} s")
    found = report(a, b, "Trained by both")
    resumed = {name: _of_resumed(a[name]) for name in from_a}
    found_resumed = report(
        resumed, {name: _of_resumed(from_a[name]) for name in from_a}, "Resumed by B from A's files"
    )
    if args.json:
        args.json.write_text(json.dumps({"trained": found, "resumed": found_resumed, "A": a, "B": b}))
    return int(bool(found or found_resumed or not a.keys() & b.keys()))


def main() -> int:
    """Compare two checkouts, or be the child process of one."""
    parser = checkouts.parser("python -m bench.same_bits", __doc__ or "")
    parser.add_argument("--only", default="", metavar="PATTERN", help="cases whose names match it")
    parser.add_argument("--except", dest="but", metavar="PATTERN", help="no cases whose names match it")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--theirs", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        run_child(args.A, args.child, args.only, args.but, args.theirs)
        return 0
    with tempfile.TemporaryDirectory(prefix="same-bits-") as work:
        return compare(args, Path(work))


if __name__ == "__main__":
    sys.exit(main())
