"""What other packages call the settings and their values, and what they are called here: for error messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType


def _others(advice: Mapping[str, str]) -> Mapping[str, str]:
    """Advice by name, from names by advice."""
    return MappingProxyType({name: text for text, names in advice.items() for name in names.split()})


LOSSES = _others(
    {
        "Pass loss='squared'.": (
            "mse mean_squared_error squared_error squared_loss l2 l2_loss ls least_squares ols "
            "half_squared_error quadratic gaussian regression"
        ),
        "Pass loss='quantile', at whose level quantile=0.5 it is half the absolute error.": (
            "mae mean_absolute_error absolute_error absolute l1 l1_loss lad median"
        ),
        "Pass loss='quantile'.": "pinball pinball_loss quantile_loss",
        "Pass loss='huber'.": "smooth_l1 smooth_l1_loss huber_loss",
        "Pass loss='logistic' for two classes, loss='softmax' for more.": (
            "log log_loss logloss nll negative_log_likelihood cross_entropy crossentropy deviance"
        ),
        "Pass loss='logistic'.": (
            "binary_crossentropy binary_cross_entropy bce bce_with_logits bcewithlogits logistic_regression "
            "logit binomial binary sigmoid binary_log_loss"
        ),
        "Pass loss='softmax'.": (
            "categorical_crossentropy sparse_categorical_crossentropy categorical_cross_entropy multinomial "
            "softmax_loss softmax_cross_entropy multi_class multiclass"
        ),
        "Pass loss='hinge'.": "hinge_loss svm linear_svm",
        "Pass loss='huber' for outliers in the targets, or loss='squared'.": (
            "epsilon_insensitive squared_epsilon_insensitive"
        ),
        "Pass loss='hinge', or loss='logistic'.": "squared_hinge modified_huber perceptron",
    }
)

SAMPLINGS = _others(
    {
        "Pass sampling='reshuffle'.": "shuffle shuffled random true random_reshuffling without_replacement",
        "Pass sampling='once'.": "shuffle_once",
        "Pass sampling='block'.": "blocks corgi corgipile window shuffle_buffer streaming",
        "Pass sampling='sequential'.": "none false no_shuffle ordered in_order cyclic",
        "Pass sampling='replacement'.": "with_replacement iid bootstrap",
    }
)

SCHEDULES = _others(
    {
        "Pass schedule='inverse_scaling'.": "invscaling inv_scaling inverse optimal inverse_time",
        "Pass schedule='cosine'.": "cosine_decay cosine_annealing cos",
        "Pass schedule='step'.": "step_decay multistep piecewise",
        "Pass schedule='restarts'.": "cosine_restarts cosine_decay_restarts warm_restarts sgdr adaptive",
        "Pass schedule='constant'.": "none const fixed",
    }
)

EVAL_EVERY = _others({"Pass eval_every=None.": "none never no false off"})

#: Arguments of ``train`` by what they are called elsewhere.
ARGUMENTS = _others(
    {
        "lr": "learning_rate learning_rate_init eta eta0 step_size stepsize",
        "lr and schedule": "learning_rate_schedule",
        "schedule": "lr_schedule lr_scheduler decay power_t",
        "epochs": "max_iter n_iter num_epochs n_epochs nb_epoch passes max_epochs iterations",
        "batch_size": "minibatch_size batch bs minibatch",
        "l2": "alpha weight_decay reg lambda_ l2_regularization",
        "l2 or l1": "penalty regularization l1_ratio",
        "intercept": "fit_intercept bias use_bias",
        "seed": "random_state random_seed rng rng_seed",
        "sampling": "shuffle",
        "patience": "n_iter_no_change",
        "tol": "early_stopping tolerance min_delta",
        "validation_fraction": "validation_split holdout",
        "validation_data": "eval_set validation_set X_val",
        "sample_weight": "weights sample_weights weight",
        "init": "coef_init w0 warm_start initial_weights",
        "average": "averaging swa",
        "momentum": "beta mu",
        "nesterov": "nesterovs_momentum",
        "standardize": "normalize scale standardise",
        "callback": "callbacks",
        "threads": "n_jobs num_threads n_threads",
        "loss": "objective criterion loss_function",
    }
)


def require_known(given: Iterable[str], known: Iterable[str]) -> None:
    """Raise ``TypeError`` for an argument that ``train`` does not have, and name the one that is meant."""
    known = list(known)
    for name in given:
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
        meant = ARGUMENTS.get(name, near[0] if near else None)
        advice = f"Pass {meant} instead." if meant else "help(numbasgd.train) lists them."
        raise TypeError(f"{name} is no argument of train; expected one of its settings. {advice}")
