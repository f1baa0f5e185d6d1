"""The callbacks of scikit-learn 1.9 and later: each epoch of a fit is a task of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numbasgd.sgd.fit import Fit

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # an earlier scikit-learn

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing: there are no callbacks yet."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """The method as it is."""
        return method


class EpochTasks:
    """Tells the callbacks of an estimator of its fit, and of each epoch in it.

    data : X, y and metadata, as the hooks take them.  epochs : how many there are, or None if nobody knows.
    attributes : what a Fit makes of the estimator.
    """

    def __init__(
        self,
        estimator: Any,
        data: dict[str, Any],
        epochs: int | None,
        attributes: Callable[[Fit], dict[str, Any]],
    ) -> None:
        self.told = {"estimator": estimator, **data}
        self.epochs, self.attributes = epochs, attributes
        self.fit_task = estimator._init_callback_context(max_subtasks=epochs)
        self.fit_task.call_on_fit_task_begin(**self.told)
        self.epoch_task = None if epochs == 0 else self._begin_epoch()

    def _begin_epoch(self) -> Any:
        return self.fit_task.subcontext(task_name="epoch").call_on_fit_task_begin(**self.told)

    def __call__(self, fit: Fit) -> bool:
        """An epoch has ended; whether a callback wants the fit to end as well."""
        task: Any = self.epoch_task
        self.epoch_task = None
        wants_end = task.call_on_fit_task_end(
            **self.told, reconstruction_attributes=lambda: self.attributes(fit)
        )
        if not wants_end and (self.epochs is None or fit.epochs[-1] < self.epochs):
            self.epoch_task = self._begin_epoch()
        return bool(wants_end)

    def end(self) -> None:
        """The fit has ended; an epoch that was begun and not made ends empty."""
        if self.epoch_task is not None:
            self.epoch_task.call_on_fit_task_end(estimator=self.told["estimator"])
        self.fit_task.call_on_fit_task_end(**self.told, reconstruction_attributes={})
