"""Why minibatches are fast, measured on your machine, and a trainer that is fast because of it."""

from numbasgd.errors import DataError, DeviceError, DivergenceError, NumbaSGDError, ResultFileError
from numbasgd.matmul import RUNGS, matmul, matmul_plan

__version__ = "0.1.0"

__all__ = [
    "RUNGS",
    "DataError",
    "DeviceError",
    "DivergenceError",
    "NumbaSGDError",
    "ResultFileError",
    "__version__",
    "matmul",
    "matmul_plan",
]
