"""Which batch size gets to a target first: a model for the steps, a clock for them, and a short race."""

from numbasgd.sgd.batch_size.best import best_batch_size
from numbasgd.sgd.batch_size.result import BatchSize, Trial

__all__ = ["BatchSize", "Trial", "best_batch_size"]
