"""The step rule, written once: what a step does with the sum of a minibatch's gradients.

``make_update`` is the rule on registers.  ``make_apply`` applies it to the state of a run in memory, intercepts
and averaging included; every solver uses it but the one whose rows stay in registers (``register_rows.py``).
Every variant is decided when a kernel is compiled, so the plain step pays for none of the others.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from numbasgd.compile.options import jit
from numbasgd.simd.vector import add, fill, fma, larger, load, mul, pointer, smaller, store, sub


class Step(NamedTuple):
    """Which parts a step has.

    momentum : "" none; "heavy-ball" (Polyak, 1964); "nesterov" (Nesterov, 1983, in the form of Sutskever,
    Martens, Dahl, Hinton, ICML 2013).
    is_penalized : l2 * |w|^2 / 2 and l1 * |w|_1 are part of the objective; the second by its proximal step
    (Duchi and Singer, JMLR 10, 2009).
    is_averaged : the mean of the weights over the steps is kept (Polyak and Juditsky, 1992).
    """

    momentum: str = ""
    is_penalized: bool = False
    is_averaged: bool = False

    def __str__(self) -> str:
        return f"{self.momentum or 'plain'}{'_penalized' * self.is_penalized}{'_averaged' * self.is_averaged}"


PLAIN = Step()


@functools.cache
def make_update(step: Step, lanes: int) -> Any:
    """update(w, v, g, scale, lr, mu, l2, l1) -> (w, v) for registers; g holds a sum, scale is 1 / count.

    v := mu v + g + l2 w;  w -= lr v (heavy ball)  or  lr (g + l2 w + mu v) (Nesterov);  then each w is
    moved by lr * l1 towards 0, and no further.
    """
    has_momentum = step.momentum != ""
    is_nesterov = step.momentum == "nesterov"
    is_penalized = step.is_penalized

    @jit(variant=f"{step}_{lanes}", forceinline=True)
    def update(w, v, g, scale, lr, mu, l2, l1):
        if is_penalized:
            g = fma(fill(l2, lanes), w, mul(fill(scale, lanes), g))
        elif has_momentum:
            g = mul(fill(scale, lanes), g)
        if has_momentum:
            v = fma(fill(mu, lanes), v, g)
            if is_nesterov:
                w = fma(fill(-lr, lanes), fma(fill(mu, lanes), v, g), w)
            else:
                w = fma(fill(-lr, lanes), v, w)
        elif is_penalized:
            w = fma(fill(-lr, lanes), g, w)
        else:
            w = fma(fill(-lr * scale, lanes), g, w)
        if is_penalized:
            t = lr * l1
            w = sub(w, smaller(larger(w, fill(-t, lanes)), fill(t, lanes)))
        return w, v

    return update


@functools.cache
def make_update_intercept(step: Step) -> Any:
    """update_b(b, vb, gb, scale, lr, mu) -> (b, vb): the same for the intercept, which has no penalty."""
    has_momentum = step.momentum != ""
    is_nesterov = step.momentum == "nesterov"

    @jit(variant=str(step), forceinline=True)
    def update_b(b, vb, gb, scale, lr, mu):
        gb *= scale
        if not has_momentum:
            return b - lr * gb, vb
        vb = mu * vb + gb
        return b - lr * (gb + mu * vb if is_nesterov else vb), vb

    return update_b


@functools.cache
def make_average(lanes: int) -> Any:
    """average(mean, lost, w, share) -> (mean, lost): mean + (w - mean) share; share is 1 / steps.

    The change of a late step is below the last digit of the mean, so what rounding takes from each is kept
    in ``lost`` and added to the next one (Kahan, CACM 8, 1965).  That is why nothing may be reassociated.
    """

    @jit(variant=str(lanes), forceinline=True, fastmath=False)
    def average(mean, lost, w, share):
        change = fma(sub(sub(w, mean), lost), fill(share, lanes), lost)
        new = add(mean, change)
        return new, sub(change, sub(new, mean))

    return average


@functools.cache
def make_move(step: Step, lanes: int) -> Any:
    """move(weights, start, stop, g, scale, params): ``update`` of the entries start <= j < stop."""
    update = make_update(step, lanes)
    has_momentum = step.momentum != ""

    @jit(variant=f"{step}_{lanes}", forceinline=True)
    def move(weights, start, stop, g, scale, params):
        w, v = weights.state, pointer(weights.state, weights.row)
        lr, mu, l2, l1 = params.lr, params.momentum, params.l2, params.l1
        for j in range(start, stop, lanes):
            wj, vj = update(load(w, j, lanes), load(v, j, lanes), load(g, j, lanes), scale, lr, mu, l2, l1)
            store(w, j, wj)
            if has_momentum:
                store(v, j, vj)

    return move


@functools.cache
def make_apply(step: Step, lanes: int, T: Any, has_outputs: bool = False) -> Any:
    """apply(weights, first, g, gb, n_rows, params): one step, from sums over ``n_rows`` rows.

    weights, params : ``operands.Weights`` and ``operands.StepParams``.
    first : the first entry to move; weights.size where w has been moved already and the intercepts are left.
    g, gb : pointer to the sums of the gradients, and the sum of the intercept; None where that is in g, at the
    place of the intercept in a row of the state.  With ``has_outputs`` there are several intercepts, in whole
    registers, and gb is None.
    """
    move, average = make_move(step, lanes), make_average(lanes)
    move_intercepts = make_move(step._replace(is_penalized=False), lanes)
    update_b = make_update_intercept(step)
    is_averaged = step.is_averaged
    variant = f"{step}_{T.__name__}_{lanes}" + "_outputs" * has_outputs

    @jit(variant=variant, forceinline=True, fastmath=False)  # for the same bits wherever it is inlined
    def apply(weights, first, g, gb, n_rows, params):
        w, size, row = weights.state, weights.size, weights.row
        scale = T(1) / T(n_rows)
        move(weights, first, size, g, scale, params)
        if params.with_b:
            if has_outputs:
                move_intercepts(weights, size, row, g, scale, params)
            else:
                b, vb = w[size], w[row + size]
                total = g[size] if gb is None else gb
                w[size], w[row + size] = update_b(b, vb, total, scale, params.lr, params.momentum)
        if is_averaged:
            weights.count[0] += 1
            share = T(1 / weights.count[0])
            mean, lost = pointer(w, 2 * row), pointer(w, 3 * row)
            for j in range(0, row, lanes):  # the intercepts too
                m, rest = average(load(mean, j, lanes), load(lost, j, lanes), load(w, j, lanes), share)
                store(mean, j, m)
                store(lost, j, rest)

    return apply


@jit(inline="always")
def restart_mean(weights):
    """Begin the mean over the steps anew, with the present weights."""
    w, row = weights.state, weights.row
    weights.count[0] = 0
    for j in range(row):
        w[2 * row + j] = w[j]
        w[3 * row + j] = 0
