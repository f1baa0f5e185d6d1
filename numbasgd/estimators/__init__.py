"""Estimators in scikit-learn's conventions; they need scikit-learn, which the rest of the package does not."""

from __future__ import annotations

from typing import Any

try:
    import sklearn as _sklearn
except ModuleNotFoundError:
    _sklearn = None


class _Missing:
    """Stands for an estimator where there is no scikit-learn, so that the name can be imported."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise ImportError(
            f"{type(self).__name__} needs scikit-learn, which is not installed; expected version 1.6 or later. "
            'Install it with pip install "numbasgd[estimators]", or use numbasgd.train, which does without.'
        )


if _sklearn is None:
    MinibatchSGDClassifier: Any = type("MinibatchSGDClassifier", (_Missing,), {})
    MinibatchSGDRegressor: Any = type("MinibatchSGDRegressor", (_Missing,), {})
else:
    from numbasgd.estimators.classifier import MinibatchSGDClassifier
    from numbasgd.estimators.regressor import MinibatchSGDRegressor

__all__ = ["MinibatchSGDClassifier", "MinibatchSGDRegressor"]
