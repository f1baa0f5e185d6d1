"""The training side: gradients, minibatch SGD and its statistics."""

from numbasgd.sgd.batch_size import BatchSize, best_batch_size
from numbasgd.sgd.chapter import train_chapter
from numbasgd.sgd.fit import Fit
from numbasgd.sgd.gradient import gradient
from numbasgd.sgd.noise import gradient_noise
from numbasgd.sgd.order import epoch_order
from numbasgd.sgd.train import train

__all__ = [
    "BatchSize",
    "Fit",
    "best_batch_size",
    "epoch_order",
    "gradient",
    "gradient_noise",
    "train",
    "train_chapter",
]
