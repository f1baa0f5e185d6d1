"""What compiled code takes is what ``Gemm.select`` says, whatever the cache holds and whoever writes to it."""

import itertools
import threading

import numba
import numpy as np
import pytest
import variant_cases
from child import run_python
from test_concurrency import needs_fork

from numbasgd import rawmem
from numbasgd.matmul.gemm import plan, plan_cache
from numbasgd.matmul.gemm.variants import Product

_number = itertools.count()


class Counted(plan_cache.PlanCache):
    """A cache of its own that counts how often Python is asked."""

    def __init__(self, gemm, n_sets=plan_cache.SETS):
        self.n_asked = 0
        super().__init__(gemm, f"numbasgd_test_plans_{next(_number)}", n_sets)
        address = self.address
        self.choose = numba.njit(lambda product: plan_cache.choose(address(), product))

    def answer(self, place):
        self.n_asked += 1
        super().answer(place)


def some_products(rng, size, n=40):
    return [
        variant_cases.product(int(m), int(n), int(k), layout, size)
        for m, n, k in np.exp(rng.uniform(0, np.log(3000), (n, 3))).astype(int)
        for layout in variant_cases.LAYOUTS
    ]


def is_chosen(gemm, product, choice):
    return plan_cache.Choice(*gemm.select(product)[1:]) == choice


@pytest.mark.parametrize("n_sets", [1, 8, plan_cache.SETS])
@pytest.mark.parametrize("size", [4, 8])
def test_compiled_code_takes_what_is_selected(n_sets, size, rng):
    """Also where products take each other's entries away all the time."""
    gemm = plan.host_gemm(size)
    cache = Counted(gemm, n_sets)
    products = some_products(rng, size)
    odd = products[0]._replace(rsa=0, rsb=-products[0].rsb, pc=1)  # broadcast, reversed, unaligned
    for product in [*products, odd, *products, *products[::-1]]:
        assert is_chosen(gemm, product, cache.choose(product)), product


def test_a_choice_is_kept(rng):
    """Python is asked once for each of many products, and a set keeps as many as it has entries."""
    gemm = plan.host_gemm(4)
    products = list(dict.fromkeys(some_products(rng, 4)))
    few, many = Counted(gemm, 1), Counted(gemm)
    for product in products[: plan_cache.WAYS] * 3:
        few.choose(product)
    assert few.n_asked == plan_cache.WAYS
    few.choose(products[-1])  # takes the entry of the first
    for product in (*products[1 : plan_cache.WAYS], products[-1]):
        few.choose(product)
    assert few.n_asked == plan_cache.WAYS + 1
    for product in products:
        many.choose(product)
        many.choose(product)
    assert many.n_asked == len(products)


def test_products_of_a_kind_have_different_sets():
    """Sizes and strides that are multiples of powers of two spread over the sets, too."""
    cache = Counted(plan.host_gemm(4))
    sizes = (16, 32, 64, 128, 256, 512, 1024, 2048)
    products = [plan.product_of(m, n, k, 4) for m, n, k in itertools.product(sizes, repeat=3)]
    for product in products:
        cache.choose(product)
    before = cache.n_asked
    for product in products:
        cache.choose(product)
    assert cache.n_asked - before < len(products) / 4


def test_an_error_leaves_no_choice(rng, monkeypatch):
    """It is printed, twice because compiled code asks twice, and nothing is kept."""
    cache = Counted(plan.host_gemm(4))
    (product, *_) = some_products(rng, 4)
    printed = []
    with monkeypatch.context() as patched:
        patched.setattr(plan.Gemm, "select", lambda self, product: 1 / 0)
        patched.setattr("sys.unraisablehook", lambda error: printed.append(error.exc_type))
        assert cache.choose(product) == plan_cache.NOTHING
    assert printed == [ZeroDivisionError] * 2
    assert is_chosen(cache.gemm, product, cache.choose(product))


def test_several_threads_at_once(rng):
    gemm = plan.host_gemm(4)
    cache = Counted(gemm, 1)
    products = list(dict.fromkeys(some_products(rng, 4)))[: plan_cache.WAYS + 2]
    expected = [gemm.select(product)[1:] for product in products]
    wrong = []

    def work():
        for _ in range(200):
            for product, right in zip(products, expected, strict=True):
                if cache.choose(product) != right:
                    wrong.append(product)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@numba.cfunc(numba.types.void(numba.types.intp, numba.types.intp))
def echo(place, how):
    """In place of the callback: a choice whose words all are m."""
    for i in range(plan_cache._N_CHOICE):
        rawmem.put(place + plan_cache._ANSWER + 8 * i, rawmem.get(place))
    rawmem.put(how, rawmem._DONE)


def test_nobody_reads_half_a_choice():
    """Threads without the interpreter's lock write the entries of one set in turn, much faster than Python."""
    cache = Counted(plan.host_gemm(4), 1)
    cache._state.word(plan_cache._AT.select).value = echo.address
    address = cache.address

    @numba.njit(nogil=True)
    def wrong_words(times, start):
        wrong = 0
        for i in range(times):
            m = 1 + (start + i // 3) % 6
            choice = plan_cache.choose(address(), Product(m, 1, 1, 1, 1, 1, 1, 0, 1))
            wrong += choice.function != m
            wrong += choice.packer != m
            wrong += choice.blocks.MC != m
            wrong += choice.blocks.far != m
            wrong += choice.cut.rows != m
            wrong += choice.cut.is_balanced != m
        return wrong

    wrong_words(1, 0)
    found = []
    threads = [
        threading.Thread(target=lambda s=s: found.append(wrong_words(4_000_000, s))) for s in (0, 1, 2, 3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [0, 0, 0, 0]


@needs_fork
def test_a_child_of_a_fork_that_cut_a_writer_short():
    """The entry that was being written is not read, and is written anew."""
    run_python(
        """
        import os, signal, numpy as np
        from numbasgd.matmul.gemm import plan, plan_cache
        from test_plan_cache import Counted, is_chosen
        cache = Counted(plan.host_gemm(4), 1)
        products = [plan.product_of(m, 20, 30, 4) for m in range(10, 10 + plan_cache.WAYS)]
        for product in products:
            cache.choose(product)
        for way in range(plan_cache.WAYS):
            entry = plan_cache._AT.entries + plan_cache._STEP * way
            cache._state.word(entry + plan_cache._IN.version).value |= 1
            cache._state.word(entry + plan_cache._IN.choice).value = 12345
        cache._state.word(plan_cache._AT.is_writing).value = 1
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            before = cache.n_asked
            right = all(is_chosen(cache.gemm, p, cache.choose(p)) for p in products * 2)
            os._exit(0 if right and cache.n_asked - before == len(products) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        for product in products * 2:  # and a parent whose writer never comes back is right, though slow
            assert is_chosen(cache.gemm, product, cache.choose(product))
        """
    )
