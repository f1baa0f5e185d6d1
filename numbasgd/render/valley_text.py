"""What ``numbasgd valley`` prints: time to a loss by batch size, and the two factors of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numbasgd.render.tables import Table, number, render

if TYPE_CHECKING:
    from numbasgd.experiments._steps import Spread
    from numbasgd.experiments._valley import Valley


def valley_table(valley: Valley) -> str:
    """Samples, times the seconds a sample of either kind, is time; then what each kind says in words."""
    header = (
        "batch size", "lr", "samples needed", "quartiles",
        "ns a sample", "us to the target", "NumPy loop: ns a sample", "us to the target",
    )  # fmt: skip
    rows = [
        (
            size.batch_size, number(size.lr),
            *_samples(size.samples),
            number(1e9 * size.compiled.median), _us(size.seconds("compiled")),
            number(1e9 * size.interpreted.median), _us(size.seconds("interpreted")),
        )
        for size in valley.sizes
    ]  # fmt: skip
    told = [
        f"Target: a loss of {number(valley.target_loss, 4)}, {100 * valley.target:g} % of the way from the "
        f"least one ({number(valley.optimum, 4)}) to that at w = 0 ({number(valley.at_zero, 4)}). Samples: the "
        f"median of {valley.seeds} runs at the best constant rate. Above lr = "
        f"{number(valley.largest_stable_rate)} gradient descent diverges.",
        valley.sentence("compiled"),
        valley.sentence("interpreted"),
    ]
    return render(Table(header, tuple(rows))) + "\n" + "\n".join(told) + "\n"


def _samples(samples: Spread | None) -> tuple[str, str]:
    if samples is None:
        return "not reached", ""
    return f"{samples.median:.0f}", f"{samples.q1:.0f} to {samples.q3:.0f}"


def _us(seconds: Spread | None) -> str:
    return "-" if seconds is None else number(1e6 * seconds.median)
