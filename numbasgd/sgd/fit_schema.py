"""What the file of a ``Fit`` may hold: a rule for each value of its header.

The checksum tells that a file was not damaged by accident.  With these rules, and with what must hold between
values (``fit_consistency``), a file that somebody edited, or that another program wrote, is refused when it is
loaded and not where its values are used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from numbasgd.check import MOST, show
from numbasgd.sgd import config
from numbasgd.sgd import setting_values as values
from numbasgd.sgd.fingerprint import ARRAYS
from numbasgd.sgd.losses import PARAMETERS, loss_key
from numbasgd.sgd.schedule import SCHEDULES
from numbasgd.sgd.stopping import REASONS, TIMES

_FLOATS = ("float32", "float64")
_HEX = frozenset("0123456789abcdef")


class Rule(NamedTuple):
    """expected : the values that meet the rule, in words.  is_met : whether a value does; never raises."""

    expected: str
    is_met: Callable[[Any], bool]


def _integer(low: int) -> Rule:
    return Rule(f"an integer from {low} to {MOST}", lambda v: type(v) is int and low <= v <= MOST)


def _real(low: float = -math.inf, below: float = math.inf) -> Rule:
    """A float, which JSON never confuses with an integer."""
    words = (
        "a finite float" + f", {low:g} or more" * (low > -math.inf) + f", below {below:g}" * (below < math.inf)
    )
    return Rule(words, lambda v: type(v) is float and math.isfinite(v) and low <= v < below)


def _choice(names: Any) -> Rule:
    return Rule(f"one of {', '.join(names)}", lambda v: type(v) is str and v in names)


def _setting(name: str) -> Rule:
    """A value that ``TrainConfig`` would take as it is, of the type that it keeps."""

    def is_met(value: Any) -> bool:
        try:
            checked = config.SETTINGS[name].check(value, name)
        except (TypeError, ValueError):
            return False
        return type(checked) is type(value) and bool(checked == value)

    return Rule(config.SETTINGS[name].expected, is_met)


def _either(*rules: Rule) -> Rule:
    return Rule(" or ".join(rule.expected for rule in rules), lambda v: any(rule.is_met(v) for rule in rules))


def is_rate(value: Any) -> bool:
    """Whether a value can be a learning rate."""
    return type(value) is float and 0 < value < math.inf


def _are_classes(value: Any) -> bool:
    """At least two values of one type, in order, that one array holds exactly (``labels.array_of``)."""
    if type(value) is not tuple or len(value) < 2 or len(kinds := {type(v) for v in value}) != 1:
        return False
    kind = kinds.pop()
    if kind is int and not (-(2**63) <= value[0] <= value[-1] < 2**63 or 0 <= value[0] <= value[-1] < 2**64):
        return False
    if kind is float and not all(map(math.isfinite, value)):
        return False
    return kind in (bool, int, float, str) and all(value[i] < value[i + 1] for i in range(len(value) - 1))


def _are_versions(value: Any) -> bool:
    return type(value) is dict and "numbasgd" in value and all(type(v) is str and v for v in value.values())


def _are_times(value: Any) -> bool:
    is_known = type(value) is dict and value.keys() <= set(TIMES)
    return is_known and all(type(v) is float and 0 <= v < math.inf for v in value.values())


def _is_shape(value: Any, ndims: tuple[int, ...]) -> bool:
    return type(value) is list and len(value) in ndims and all(type(v) is int and 0 <= v <= MOST for v in value)


def _is_mark(value: Any, ndims: tuple[int, ...]) -> bool:
    """What a ``Fingerprint`` tells of an array."""
    if type(value) is not dict or value.keys() != {"shape", "dtype", "sha256"}:
        return False
    digest = value["sha256"]
    is_digest = type(digest) is str and len(digest) == 64 and set(digest) <= _HEX
    return is_digest and _DTYPE.is_met(value["dtype"]) and _is_shape(value["shape"], ndims)


def _are_marks(value: Any) -> bool:
    ndims = {"X": (2,), "y": (1, 2), "sample_weight": (1,)}
    is_known = type(value) is dict and {"X", "y"} <= value.keys() <= set(ARRAYS)
    return is_known and all(
        _is_mark(mark, ndims[name.removeprefix("validation_")]) for name, mark in value.items()
    )


def _are_names(value: Any) -> bool:
    """Names of columns, as ``columns.names_of`` tells them."""
    return type(value) is tuple and len({type(v) for v in value}) == 1 and type(value[0]) in (str, int)


_DTYPE = _choice(_FLOATS)
_FLAG = Rule("true or false", lambda v: type(v) is bool)
_NONE = Rule("null", lambda v: v is None)
_ARRAY = Rule("an array", lambda v: type(v) is np.ndarray)
_TEXT = Rule("some text", lambda v: type(v) is str and v != "")
_RATE = Rule("a finite float above 0", is_rate)
_RATES = Rule("a list of such", lambda v: type(v) is list and len(v) > 0 and all(map(is_rate, v)))
_LOSS = Rule("a float, 0 or more, and not NaN", lambda v: type(v) is float and v >= 0)
_CLASSES = Rule("two or more different values of one type, in order", _are_classes)

#: The settings of a run; what must hold between them is in ``require_settings``.
SETTINGS: Mapping[str, Rule] = MappingProxyType(
    {
        **{name: _setting(name) for name in config.KEPT if name != "seed"},  # which has a place of its own
        # What the data had to tell of settings, and of the data.
        "batch_size": _integer(1),
        "lr": _RATE,
        "lr_given": _either(_choice(("auto",)), _RATE, _RATES),
        "sampling": _choice([name for name in values.SAMPLED if name != "auto"]),
        "sampling_given": _choice(values.SAMPLED),
        "schedule": _choice(SCHEDULES),
        "standardize": _FLAG,
        "validation_fraction": _real(0, 1),
        "sample_weight": _FLAG,
        "validation_data": _FLAG,
        "dtype": _DTYPE,
    }
)

FIT: Mapping[str, Rule] = MappingProxyType(
    {
        **dict.fromkeys(("w", "loss", "objective", "samples", "epochs", "seconds"), _ARRAY),
        "b": _either(Rule("a float", lambda v: type(v) is float), _ARRAY),
        "validation_loss": _either(_NONE, _ARRAY),
        "compile_seconds": _real(0),
        "data": _TEXT,
        "n": _integer(1),
        "classes": _either(_NONE, _CLASSES),
        "feature_names": _either(_NONE, Rule("names of columns, all text or all integers", _are_names)),
        "seed": _integer(0),
        "settings": Rule("the settings of a run", lambda v: type(v) is dict),
        "lr_because": _TEXT,
        "batch_size_because": _TEXT,
        "noise_track": _either(_NONE, _ARRAY),
        "stopped": _choice(REASONS),
        "times": Rule("seconds by what they were spent on", _are_times),
        "versions": Rule("the versions of numbasgd and what it uses", _are_versions),
    }
)

STATE: Mapping[str, Rule] = MappingProxyType(
    {
        **dict.fromkeys(("weights", "counts", "best", "history", "lrs", "scale"), _ARRAY),
        "best_watched": _LOSS,
        "stale": _integer(0),
        "limit": _LOSS,
        "seconds": _real(0),
        "looked": _integer(0),
        "asked": _integer(0),
        "is_over": _FLAG,
        "factor": Rule("a float above 0, at most 1", lambda v: type(v) is float and 0 < v <= 1),
        "data": Rule("shape, dtype and SHA-256 of X, y and perhaps more", _are_marks),
    }
)


def require_rules(values: Mapping[str, Any], rules: Mapping[str, Rule], part: str) -> None:
    """Raise ``ValueError`` unless ``values`` has just the names of the rules and meets them."""
    if odd := rules.keys() ^ values.keys():
        raise ValueError(f"{part} has other names than expected: {', '.join(sorted(map(repr, odd)))}")
    for name, (expected, is_met) in rules.items():
        if not is_met(values[name]):
            raise ValueError(f"{name} of {part} is {show(values[name])}, not {expected}")


def require_settings(settings: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` unless these can be the settings of a run."""
    require_rules(settings, SETTINGS, "settings")
    if settings["nesterov"] and not settings["momentum"]:
        raise ValueError("nesterov of settings is True, and momentum is 0")
    loss_key(settings["loss"], **{name: settings[name] for name in PARAMETERS})
