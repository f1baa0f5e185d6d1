"""Why minibatches are fast, measured on your machine, and a trainer that is fast because of it."""

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
from numbasgd.sgd import Fit, epoch_order, gradient, gradient_noise, train, train_chapter

__version__ = "0.1.0"

__all__ = [
    "RUNGS",
    "CacheWarning",
    "DataError",
    "DeviceError",
    "DivergenceError",
    "Fit",
    "FitFileError",
    "NumbaSGDError",
    "ResultFileError",
    "WrongResultError",
    "__version__",
    "airfoil_twin",
    "epoch_order",
    "gradient",
    "gradient_noise",
    "load_airfoil",
    "matmul",
    "matmul_plan",
    "train",
    "train_chapter",
]
