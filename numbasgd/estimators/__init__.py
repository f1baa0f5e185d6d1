"""Estimators in scikit-learn's conventions; they need scikit-learn, which the rest of the package does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["MinibatchSGDClassifier", "MinibatchSGDRegressor"]


def _has_scikit_learn() -> bool:
    try:
        from sklearn.utils.validation import validate_data  # noqa: F401 - there since 1.6
    except ImportError:
        return False
    return True


class _Missing:
    """Stands for an estimator where there is no scikit-learn, so that its name can be imported."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise ImportError(
            f"{type(self).__name__} needs scikit-learn 1.6 or later, which is not installed. Install it with "
            'pip install "numbasgd[estimators]", or use numbasgd.train, which does without.'
        )


if TYPE_CHECKING or _has_scikit_learn():
    from numbasgd.estimators.classifier import MinibatchSGDClassifier
    from numbasgd.estimators.regressor import MinibatchSGDRegressor
else:
    MinibatchSGDClassifier = type("MinibatchSGDClassifier", (_Missing,), {})
    MinibatchSGDRegressor = type("MinibatchSGDRegressor", (_Missing,), {})
