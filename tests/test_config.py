"""``TrainConfig`` is the one list of settings: what agrees with it, and that it checks each once."""

import argparse
import dataclasses
import inspect
import re

import numpy as np
import pytest

from numbasgd import train
from numbasgd.cli.train import add_arguments
from numbasgd.sgd.config import KEPT, SETTINGS, TrainConfig

DATA = {"X", "y", "sample_weight", "validation_data", "init", "resume"}  # of a call, and no settings
DEFAULTS = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
# A value of each setting that is part of a run, other than its default.
OTHER = {
    "batch_size": 7, "lr": 0.25, "epochs": 3, "schedule": "cosine", "loss": "huber", "quantile": 0.9,
    "sampling": "once", "window": 8.0, "momentum": 0.5, "nesterov": True, "average": 1, "l2": 0.5, "l1": 0.5,
    "intercept": False, "standardize": True, "eval_every": 100, "validation_fraction": 0.25, "tol": 0.5,
    "patience": 3, "seed": 5,
}  # fmt: skip


def test_train_takes_the_settings_with_their_defaults():
    parameters = inspect.signature(train).parameters
    assert {name: p.default for name, p in parameters.items() if name not in DATA} == DEFAULTS
    assert DATA <= parameters.keys()


def test_train_documents_each_of_its_parameters():
    documented = re.findall(r"^    ([a-zA-Z]\w*(?:, \w+)*) : ", train.__doc__, flags=re.MULTILINE)
    named = {name for entry in documented for name in entry.split(", ")}
    assert named == DATA | SETTINGS.keys()


@pytest.mark.parametrize("name", SETTINGS)
def test_each_setting_says_what_it_does_and_takes_its_default(name):
    setting = SETTINGS[name]
    assert setting.doc.endswith(".") and setting.expected
    checked = setting.check(DEFAULTS[name], name)
    assert name == "seed" or checked == DEFAULTS[name]


def test_the_command_has_an_option_for_each_setting():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = {action.dest: action for action in parser._actions}
    without = {"callback", "progress"}  # of Python
    assert SETTINGS.keys() - without - {"intercept"} <= options.keys()
    assert "no_intercept" in options and not options["no_intercept"].default
    for name in ("batch_size", "lr", "epochs", "loss", "sampling", "momentum", "patience", "eval_every"):
        shown = "none" if DEFAULTS[name] is None else DEFAULTS[name]
        told = rf'"?{shown:g}"?' if isinstance(shown, float) else rf'"?{shown}"?'
        assert re.search(rf"{told} \(default\)|default {told}|{told}.*\(default\)", options[name].help), name


def test_a_fit_keeps_all_that_is_part_of_the_run():
    fit = train(epochs=1, seed=3)
    assert fit.settings.keys() == set(KEPT) - {"seed"} | {
        "lr_given",
        "sampling_given",
        "sample_weight",
        "validation_data",
        "dtype",
    }
    given = {name: fit.settings.get(f"{name}_given", fit.settings.get(name)) for name in KEPT[:-1]}
    config = TrainConfig(**given)
    assert config.kept() == {**TrainConfig(epochs=1).kept(), "seed": config.seed}


@pytest.mark.parametrize("name", KEPT)
def test_a_resumed_run_takes_the_settings_of_the_run(name):
    """Another value is refused, where it is no total of epochs and no rate of epochs to come."""
    more = {"momentum": 0.25} if name == "nesterov" else {}
    first = train(epochs=2, lr=0.125, seed=1, **more)
    assert OTHER[name] != DEFAULTS[name]
    if name == "epochs":
        assert train(resume=first, epochs=3).epochs[-1] == 3
        return
    with pytest.raises(ValueError, match=rf"\b{name} is "):
        train(resume=first, **{name: OTHER[name]})


def test_it_is_frozen_and_checked():
    config = TrainConfig(momentum=np.float32(0.5), average=np.bool_(True), epochs=np.int64(3))
    assert (config.momentum, config.average, config.epochs) == (0.5, True, 3)
    assert type(config.momentum) is float and type(config.average) is bool and type(config.epochs) is int
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.momentum = 0.0
    with pytest.raises(ValueError, match=r"momentum is 1.0; expected a number from 0 to below 1"):
        TrainConfig(momentum=1.0)
