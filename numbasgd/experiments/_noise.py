"""What a larger minibatch buys, and what it costs: the noise of its gradient beside the seconds of a step."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numbasgd.experiments._problem import given_or_airfoil, one_output
from numbasgd.experiments._steps import Spread, compiled_costs, numpy_costs
from numbasgd.machine.fingerprint import fingerprint
from numbasgd.sgd.noise import Noise, gradient_noise

SCHEMA = 1


@dataclass(frozen=True)
class StepCost:
    """Seconds of a step over ``batch_size`` rows: of compiled code, and of a loop of NumPy calls."""

    batch_size: int
    compiled: Spread
    interpreted: Spread


@dataclass(frozen=True)
class NoiseAndCost:
    """What ``noise`` found: the noise by both laws and measured, and the cost of a step, by batch size.

    data : which data it was.  seconds : what all of it took.
    """

    data: str
    noise: Noise
    steps: tuple[StepCost, ...]
    seconds: float
    machine: Mapping[str, Any]

    def table(self) -> str:
        """Noise and cost by batch size as text."""
        from numbasgd.render.noise_text import noise_table

        return noise_table(self)

    def plot(self, ax: Any = None) -> Any:
        """Draw noise and cost side by side on a figure, which is returned, or the noise alone on ``ax``."""
        from numbasgd.render import training_plot

        if ax is not None:
            return training_plot.plot_noise(self.noise, ax)
        return training_plot.plot_noise_and_cost(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values.

        "schema", "kind" : 1 and "noise".  "data" : which data it was, in words.
        "with_replacement", "without_replacement" : for each batch size "batch_size", "draws", the measured
        "std", the law's "predicted", "bias" and "bias_expected" (``numbasgd.sgd.noise.NoiseRow``); and beside
        them what else ``Noise.to_dict`` tells: "sigma", "gradient_norm", "n", "seed", "noise_scale", ...
        "steps" : for each batch size "batch_size", and "compiled" and "interpreted": the seconds of a step,
        each as "median", "q1" and "q3".
        "seconds" : what all of it took.  "machine" : the fingerprint, "versions" in it.
        """
        steps = [
            {
                "batch_size": step.batch_size,
                "compiled": step.compiled.to_dict(),
                "interpreted": step.interpreted.to_dict(),
            }
            for step in self.steps
        ]
        return {
            "schema": SCHEMA,
            "kind": "noise",
            "data": self.data,
            **self.noise.to_dict(),
            "steps": steps,
            "seconds": self.seconds,
            "machine": dict(self.machine),
        }


def noise(
    X: Any = None,
    y: Any = None,
    *,
    w: Any = None,
    b: float = 0.0,
    batch_sizes: Sequence[int] | None = None,
    draws: int | None = None,
    seed: int = 0,
) -> NoiseAndCost:
    """Measure how the noise of a minibatch gradient falls with the batch size, and how a step's cost grows.

    The noise falls as b^-1/2 (``numbasgd.gradient_noise``), the cost grows as b once a step is long enough.

    Parameters
    ----------
    X : array_like, shape (n, d), optional
    y : array_like, shape (n,), optional
        The airfoil data where the file is at hand, else its embedded twin, if left out; ``data`` tells which.
    w : array_like, shape (d,), optional
        Where the gradients are taken; zeros if left out.
    b : float
    batch_sizes : sequence of int, optional
        1, 2, 5, 10, 20, ... up to n if left out.
    draws : int, optional
        Minibatches per batch size by which the laws are checked; as many as ``gradient_noise`` makes, if left
        out.
    seed : int
        Of the draws.

    Returns
    -------
    NoiseAndCost

    Raises
    ------
    TypeError, ValueError
        For an argument that is not as described.

    Examples
    --------
    >>> from numbasgd import airfoil_twin, experiments
    >>> found = experiments.noise(*airfoil_twin(), batch_sizes=[1, 100], draws=200)
    >>> print(found.table())                               # doctest: +ELLIPSIS
    batch size ...
    >>> one, hundred = found.noise.with_replacement
    >>> 8 < one.std / hundred.std < 12
    True
    >>> found.to_dict()["steps"][1]["batch_size"]
    100
    """
    begin = time.perf_counter()
    X, y, data = given_or_airfoil(X, y)
    dataset = one_output(X, y)
    found = gradient_noise(X, y, w, b, batch_sizes=batch_sizes, draws=draws, seed=seed)
    sizes = [row.batch_size for row in found.with_replacement]
    compiled, interpreted = compiled_costs(dataset, sizes), numpy_costs(dataset, sizes)
    steps = tuple(StepCost(b, compiled[b].times(b), interpreted[b].times(b)) for b in sizes)
    return NoiseAndCost(data, found, steps, round(time.perf_counter() - begin, 3), fingerprint())
