"""Why minibatches are fast, measured on your machine, and a trainer that is fast because of it."""

from typing import TYPE_CHECKING, Any

from numbasgd.cli import interrupts  # noqa: F401, I001 - first, since what follows takes a moment
from numbasgd.data import airfoil_twin, load_airfoil
from numbasgd.errors import (
    CacheWarning,
    DataError,
    DeviceError,
    DivergenceError,
    FitFileError,
    NumbaSGDError,
    ResultFileError,
    WrongResultError,
)
from numbasgd.matmul import RUNGS, matmul, matmul_plan
from numbasgd.sgd import (
    BatchSize,
    Fit,
    best_batch_size,
    epoch_order,
    gradient,
    gradient_noise,
    train,
    train_chapter,
)

if TYPE_CHECKING:
    from numbasgd.estimators import MinibatchSGDClassifier, MinibatchSGDRegressor

__version__ = "0.1.0"

__all__ = [
    "RUNGS",
    "BatchSize",
    "CacheWarning",
    "DataError",
    "DeviceError",
    "DivergenceError",
    "Fit",
    "FitFileError",
    "MinibatchSGDClassifier",
    "MinibatchSGDRegressor",
    "NumbaSGDError",
    "ResultFileError",
    "WrongResultError",
    "__version__",
    "airfoil_twin",
    "best_batch_size",
    "epoch_order",
    "gradient",
    "gradient_noise",
    "load_airfoil",
    "matmul",
    "matmul_plan",
    "train",
    "train_chapter",
]


def __getattr__(name: str) -> Any:
    """The experiments, and the estimators, which import scikit-learn, only once they are wanted."""
    if name == "experiments":
        from importlib import import_module

        return import_module("numbasgd.experiments")
    if name in ("MinibatchSGDClassifier", "MinibatchSGDRegressor"):
        from numbasgd import estimators

        return getattr(estimators, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
