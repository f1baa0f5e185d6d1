"""README's tables from the result files of ``bench/results``: made here, and checked against them.

All text between two markers belongs to the command ``numbasgd report``.  Each result file gives a line
on its machine, a table of the ladder, one of the training epochs, one of the time to a loss by batch size where
that was measured, and a picture beside the file, which carries a digest of what it shows, so that a picture of
older figures is noticed.  Between two more markers, where README has them, stands what ``numbasgd compare``
says of all files.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from numbasgd.compare.comparison import compare, sides_of
from numbasgd.compare.joining import join
from numbasgd.compare.load import withhold
from numbasgd.compare.machines import describe
from numbasgd.compare.results import Case, ResultFile
from numbasgd.compare.summary import summarise
from numbasgd.compare.valleys import KINDS, FileValley, valleys
from numbasgd.errors import ResultFileError
from numbasgd.matmul import RUNGS
from numbasgd.render.escapes import code
from numbasgd.render.summary_text import screen
from numbasgd.render.tables import Table, number, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BEGIN, END = "<!-- numbasgd report: begin -->", "<!-- numbasgd report: end -->"
COMPARE_BEGIN, COMPARE_END = "<!-- numbasgd compare: begin -->", "<!-- numbasgd compare: end -->"
SHOWN_SIZES = (256, 1024)
_DIGEST = "Source"  # the PNG text that holds the digest
_DEVICES = {"cpu": "", "cuda": ", GPU"}
_METHODS = {"numpy-loop": "the NumPy loop", "sklearn": "scikit-learn"}


@dataclass(frozen=True)
class Ladder:
    """The rungs of one device in float32: names, and per size GFLOP/s and share of the BLAS, None if absent.

    peak : GFLOP/s of multiply-adds alone that the same file measured, None where it did not.
    """

    device: str
    threads: str
    rungs: tuple[str, ...]
    rates: Mapping[int, tuple[float | None, ...]]
    shares: Mapping[int, tuple[float | None, ...]]
    peak: float | None

    @property
    def digest(self) -> str:
        """A short hash of what a picture of this ladder shows."""
        rates = {n: [r and number(r) for r in v] for n, v in self.rates.items()}
        shown = json.dumps([self.device, self.rungs, rates, self.peak and number(self.peak)])
        return hashlib.sha256(shown.encode()).hexdigest()[:16]


def section(file: ResultFile, picture: str | None) -> str:
    """The Markdown of one result file; ``picture`` is its path as README writes it."""
    parts = [_machine(file)]
    found = ladders(file)
    for ladder in found:
        parts.append(render(_ladder_table(ladder), "md"))
    if found and picture:
        parts.append(f"![GFLOP/s of each rung]({picture})\n")
    parts += [render(table, "md") for table in (*_epoch_tables(file), *map(_valley_table, valleys(file)))]
    if len(parts) == 1:
        raise ResultFileError(
            f"{file.name}: it has neither products in float32 nor training epochs, so nothing for a README. "
            "Run: pytest bench/ --benchmark-only --benchmark-json=FILE"
        )
    return "\n".join(parts)


def ladders(file: ResultFile) -> list[Ladder]:
    """The float32 ladders of square products, one per device, on one thread where that was measured."""
    found = []
    for device in _DEVICES:
        cases = [c for c in file.cases if c.kind == "matmul" and c.dtype == "float32" and c.device == device]
        cases = [c for c in cases if c.flop and len({c.sizes.get(x) for x in "mnk"}) == 1 and "m" in c.sizes]
        threads = "one" if any(c.threads == "one" for c in cases) else "all"
        by_place = {(c.sizes["m"], c.case): c for c in cases if c.threads in (threads, None)}
        sizes = sorted({n for n, _ in by_place})
        sizes = [n for n in sizes if n in SHOWN_SIZES] or sizes
        if not sizes:
            continue
        present = {name for n, name in by_place if n in sizes}
        rungs = (*(r for r in RUNGS if r in present), *sorted(present - set(RUNGS)))
        rates = {n: tuple(_rate(by_place.get((n, rung))) for rung in rungs) for n in sizes}
        shares = {n: tuple(_share(file, by_place.get((n, rung))) for rung in rungs) for n in sizes}
        peak = file.limits.peak("float32", threads) if file.limits and device == "cpu" else None
        found.append(Ladder(device, threads, rungs, rates, shares, peak.value if peak else None))
    return found


def picture(ladder: Ladder) -> Figure:
    """The bars of one ladder: a group for each rung, a bar for each size; the peak is a line."""
    from numbasgd.render.comparison_plot import bars
    from numbasgd.render.ladder_plot import draw_peak

    series = {f"{n} x {n}": rates for n, rates in ladder.rates.items()}
    ax = bars(ladder.rungs, series, unit="GFLOP/s")
    if ladder.peak is not None:
        draw_peak(ax, ladder.peak)
    return ax.figure  # type: ignore[return-value]


def digest_of(path: Path) -> str | None:
    """The digest that a PNG carries, or None."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    at = 8
    while content[:8] == b"\x89PNG\r\n\x1a\n" and at + 8 <= len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        name, _, value = body.partition(b"\0")
        if kind == b"tEXt" and name == _DIGEST.encode():
            return value.decode("latin-1")
        at += 12 + length
    return None


def metadata(ladder: Ladder) -> dict[str, str]:
    """The metadata of a picture of the ladder, which ``digest_of`` reads."""
    return {_DIGEST: ladder.digest}


def split(readme: str, name: str, begin: str = BEGIN, end: str = END) -> tuple[str, str, str]:
    """The text of README before, between and after the markers."""
    if readme.count(begin) != 1 or readme.count(end) != 1 or readme.index(begin) > readme.index(end):
        raise ResultFileError(
            f"{name}: expected one line {begin} and below it one line {end}; the tables go between them. "
            "Add both lines where the tables belong."
        )
    before, _, rest = readme.partition(begin)
    between, _, after = rest.partition(end)
    return before + begin, between, end + after


def filled(readme: str, name: str, files: Sequence[ResultFile], sections: Sequence[str]) -> str:
    """README with the sections between the markers, and the comparison of the files where it has those, too."""
    before, _, after = split(readme, name)
    readme = before + between(sections) + after
    if COMPARE_BEGIN not in readme and COMPARE_END not in readme:
        return readme
    before, _, after = split(readme, name, COMPARE_BEGIN, COMPARE_END)
    return before + between([comparison(files)] if len(files) > 1 else []) + after


def comparison(files: Sequence[ResultFile]) -> str:
    """The command that compares the files, and the summary that it prints."""
    found = withhold(compare(sides_of(join(files))))
    command = " \\\n    ".join(["$ numbasgd compare --summary", *(file.name for file in files)])
    return "\n".join(["```", command, *screen(summarise(found)), "```"])


def between(sections: Sequence[str]) -> str:
    """The text between the markers."""
    return "\n" + "\n".join(sections).strip() + "\n"


def _machine(file: ResultFile) -> str:
    told = describe(file)
    cpu = f"{told.get('cpu.model', 'unknown CPU')}"
    about = [f"{told[k]}{unit}" for k, unit in (("cpu.simd", ""), ("cpu.cores", " cores")) if k in told]
    parts = [f"{cpu} ({', '.join(about)})" if about else cpu]
    if "blas.name" in told:
        blas = " ".join(told[k] for k in ("blas.name", "blas.version") if k in told)
        parts.append(f"BLAS {blas}, running kernel {told.get('blas.kernel', 'unknown')}")
    if told.get("gpu.name"):
        parts.append(f"GPU {told['gpu.name']}")
    versions = [f"{k} {told[f'versions.{k}']}" for k in ("python", "numpy", "numba") if f"versions.{k}" in told]
    parts += [", ".join(versions).replace("python", "Python")] if versions else []
    return f"Measured on {'; '.join(parts)}. Medians, from {code(Path(file.name).name)}.\n"


def _ladder_table(ladder: Ladder) -> Table:
    columns = ["rung", "idea"]
    for n in ladder.rates:
        columns += [f"GFLOP/s at {n}", "% of BLAS", *["% of peak"] * (ladder.peak is not None)]
    rows = []
    for i, rung in enumerate(ladder.rungs):
        row: list[str | float | None] = [code(rung), RUNGS[rung].idea if rung in RUNGS else None]
        for n in ladder.rates:
            rate, share = ladder.rates[n][i], ladder.shares[n][i]
            row += [rate, share and 100 * share]
            if ladder.peak is not None:
                row.append(rate and 100 * rate / ladder.peak)
        rows.append(tuple(row))
    threads = "one thread" if ladder.threads == "one" else "all threads"
    where = threads if ladder.device == "cpu" else "on the GPU"
    peak = f"; peak: {number(ladder.peak)} GFLOP/s of multiply-adds in registers" if ladder.peak else ""
    return Table(tuple(columns), tuple(rows), f"The ladder, float32, {where}{peak}")


def _epoch_tables(file: ResultFile) -> list[Table]:
    """A table for each shape of the data: numbasgd's microseconds an epoch, and the others as multiples."""
    cases = [c for c in file.cases if c.kind == "train" and {"n", "d", "batch_size"} <= c.sizes.keys()]
    cases = [c for c in cases if c.dtype in ("float32", None) and c.device == "cpu"]
    shapes = sorted({(c.sizes["n"], c.sizes["d"]) for c in cases})
    tables = (
        _epoch_table(n, d, [c for c in cases if (c.sizes["n"], c.sizes["d"]) == (n, d)]) for n, d in shapes
    )
    return [table for table in tables if table is not None]


def _epoch_table(n: int, d: int, cases: list[Case]) -> Table | None:
    by_place = {
        (c.sizes["batch_size"], f"{c.case} on all threads" if c.threads == "all" else c.case): c.median
        for c in cases
    }
    found = sorted({method for _, method in by_place})
    others = [m for m in dict.fromkeys([*_METHODS, *found]) if m in found and m != "numbasgd"]
    rows = []
    for batch in sorted({batch for batch, _ in by_place}):
        ours = by_place.get((batch, "numbasgd"))
        if ours is not None:
            times = [by_place.get((batch, m)) for m in others]
            rows.append((batch, ours * 1e6, *(t and f"{number(t / ours)} x" for t in times)))
    if not rows:
        return None
    columns = ("batch size", "numbasgd, us an epoch", *(f"{_METHODS.get(m, m)} takes" for m in others))
    return Table(columns, tuple(rows), f"An epoch of training on {n:,} x {d}, float32, one thread")


def _valley_table(valley: FileValley) -> Table:
    """Samples to the loss, times the seconds a sample, of compiled steps and of a NumPy loop."""
    n, d, target, dtype = valley.problem
    rows = []
    for place in valley.places:
        row: list[int | float | None] = [place.batch_size, place.samples]
        for kind in KINDS:
            each, time = place.each[kind], place.time[kind]
            row += [each and 1e9 * each, time and 1e6 * time]
        rows.append(tuple(row))
    columns = (
        *("batch size", "samples needed", "ns a sample", "us to the loss"),
        *("NumPy loop: ns a sample", "us to the loss"),
    )
    what = f"{n or 0:,.0f} x {d or 0:.0f}, {dtype or 'unknown dtype'}, one thread"
    return Table(columns, tuple(rows), f"Time to within {100 * (target or 0):g} % of the gap, {what}")


def _rate(case: Case | None) -> float | None:
    return case.flop / case.median / 1e9 if case and case.flop else None


def _share(file: ResultFile, case: Case | None) -> float | None:
    own = file.reference_of(case) if case else None
    return own.median / case.median if case and own else None
