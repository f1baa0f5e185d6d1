"""What the benches print and write around pytest-benchmark's own work."""

from __future__ import annotations

import importlib.util
import os

import pytest

from bench import summary
from bench.measure import BUDGET, Budget, Measure, case_name
from numbasgd.pytest_plugin import MACHINE

_budget = pytest.StashKey[Budget]()


def pytest_addoption(parser):
    """Options beside pytest-benchmark's."""
    group = parser.getgroup("numbasgd")
    group.addoption("--bench-full", action="store_true", help="more sizes, and no limit on the total time")
    group.addoption("--bench-no-limits", action="store_true", help="leave out what the machine can do")
    group.addoption("--bench-compact", action="store_true", help="leave single rounds out of the JSON")
    group.addoption("--bench-stats", action="store_true", help="print pytest-benchmark's own tables, too")


def pytest_configure(config):
    """Without threadpoolctl no pair of figures would be fair."""
    if importlib.util.find_spec("threadpoolctl") is None:
        raise pytest.UsageError("the benches need threadpoolctl: pip install -e '.[bench]'")
    config.addinivalue_line("markers", "bench_full: measured with --bench-full only.")


def pytest_report_header(config):
    """Say which machine and BLAS the figures belong to, before the first of them."""
    return MACHINE.header()


def pytest_collection_modifyitems(config, items):
    """Leave the longer selection out unless it is asked for."""
    if config.getoption("bench_full", False):
        return
    left_out = [item for item in items if item.get_closest_marker("bench_full")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_collection_finish(session):
    """Share the time among the cases; keep pytest-benchmark's tables for those who ask for them."""
    config = session.config
    if not config.getoption("bench_full", False):
        cases = [item for item in session.items if "measure" in getattr(item, "fixturenames", ())]
        config.stash[_budget] = Budget(BUDGET, len(cases))
    asked = (
        "bench_stats",
        "benchmark_verbose",
        "benchmark_histogram",
        "benchmark_compare",
        "benchmark_cprofile",
    )
    if not any(config.getoption(name, False) for name in asked):
        config._benchmarksession.quiet = True


@pytest.fixture
def measure(benchmark, request):
    """Measure one case; see ``bench.measure.Measure``."""
    benchmark.name = case_name(benchmark.name)
    config = request.config
    if not config.getoption("bench_no_limits"):
        MACHINE.measure_limits()  # once a session, at the first case
    return Measure(
        benchmark,
        float(config.getoption("benchmark_max_time")),
        config.getoption("benchmark_min_rounds"),
        config.stash.get(_budget, None),
    )


def pytest_terminal_summary(terminalreporter, config):
    """Print the ladders."""
    done = [bench for bench in config._benchmarksession.benchmarks if bench and not bench.has_error]
    for line in summary.tables([bench.as_dict(include_data=False, flat=True) for bench in done]):
        terminalreporter.write_line(line)


def pytest_benchmark_update_machine_info(config, machine_info):
    """Add the fingerprint; take out the host's name and cache sizes that py-cpuinfo reads wrongly."""
    machine_info.pop("node", None)
    machine_info.pop("release", None)  # a kernel's release can carry the name of whoever built or hosts it
    for name in ("l1_data_cache_size", "l1_instruction_cache_size", "l2_cache_size", "l3_cache_size"):
        machine_info.get("cpu", {}).pop(name, None)
    machine_info["numbasgd"] = MACHINE.block()


def pytest_benchmark_update_commit_info(config, commit_info):
    """Name the project, not the folder that it happens to be in; an error's text may hold paths."""
    commit_info["project"] = "numbasgd"
    commit_info.pop("error", None)


def pytest_benchmark_update_json(config, benchmarks, output_json):
    """Add what each case reached of the machine's limits; take out whatever would name the user's folders."""
    MACHINE.add_shares(output_json)
    places = [place for place in (str(config.rootpath), os.path.expanduser("~")) if len(place) > 1]

    def clean(value):
        if isinstance(value, dict):
            return {key: clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [clean(item) for item in value]
        if isinstance(value, str) and any(place in value for place in places):
            return "removed"
        return value

    output_json.update(clean(output_json))
    if config.getoption("bench_compact", False):
        for bench in output_json["benchmarks"]:
            bench["stats"].pop("data", None)
