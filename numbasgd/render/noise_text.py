"""What ``numbasgd noise`` prints: the noise of a minibatch gradient and the cost of a step, by batch size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numbasgd.render.tables import Table, number, render

if TYPE_CHECKING:
    from numbasgd.experiments._noise import NoiseAndCost


def noise_table(found: NoiseAndCost) -> str:
    """Both laws and what was measured, and what a step takes."""
    header = (
        "batch size",
        "std, with repl.", "sigma / sqrt(b)",
        "std, without", "... x sqrt((n-b)/(n-1))",
        "bias / its std",
        "us a step", "NumPy loop",
    )  # fmt: skip
    noise = found.noise
    rows = [
        (
            a.batch_size,
            "-" if a.std is None else number(a.std, 4), number(a.predicted, 4),
            "-" if c.std is None else number(c.std, 4) if c.batch_size < noise.n else "0",
            number(c.predicted, 4),
            number(a.bias / a.bias_expected, 2) if a.bias is not None and a.bias_expected else "-",
            number(1e6 * step.compiled.median), number(1e6 * step.interpreted.median),
        )
        for a, c, step in zip(noise.with_replacement, noise.without_replacement, found.steps, strict=True)
    ]  # fmt: skip
    told = (
        "A step over all rows takes them in order; the others draw theirs, and the NumPy loop gathers rows.\n\n"
        f"simple noise scale tr(Sigma) / |G|^2 = {noise.noise_scale:.3g}; critical batch size "
        f"beta / lambda1 + 1 = {noise.critical_batch_size:.3g}; largest stable lr 2 / lambda1 = "
        f"{noise.largest_stable_lr:.3g}, beyond which the error grows along {noise.direction}"
    )
    return f"{render(Table(header, tuple(rows)))}{told}\n"
