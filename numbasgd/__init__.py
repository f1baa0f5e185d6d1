"""Why minibatches are fast, measured on your machine, and a trainer that is fast because of it."""

from importlib import import_module
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
    from numbasgd.data import open_shards, open_table, write_shards
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
    "open_shards",
    "open_table",
    "train",
    "train_chapter",
    "write_shards",
]

#: What is imported once it is wanted, and where it is; the estimators import scikit-learn.
_LATER = {
    "MinibatchSGDClassifier": "estimators",
    "MinibatchSGDRegressor": "estimators",
    "open_shards": "data",
    "open_table": "data",
    "write_shards": "data",
}


def __getattr__(name: str) -> Any:
    if name == "experiments":
        return import_module("numbasgd.experiments")
    if name in _LATER:
        return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
