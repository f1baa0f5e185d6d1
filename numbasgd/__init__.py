"""Why minibatches are fast, measured on your machine, and a trainer that is fast because of it."""

from numbasgd.data import airfoil_twin, load_airfoil
from numbasgd.errors import (
    DataError,
    DeviceError,
    DivergenceError,
    FitFileError,
    NumbaSGDError,
    ResultFileError,
)
from numbasgd.matmul import RUNGS, matmul
from numbasgd.sgd import Fit, epoch_order, gradient, gradient_noise, train, train_chapter

__version__ = "0.1.0"

__all__ = [
    "RUNGS",
    "DataError",
    "DeviceError",
    "DivergenceError",
    "Fit",
    "FitFileError",
    "NumbaSGDError",
    "ResultFileError",
    "__version__",
    "airfoil_twin",
    "epoch_order",
    "gradient",
    "gradient_noise",
    "load_airfoil",
    "matmul",
    "train",
    "train_chapter",
]
