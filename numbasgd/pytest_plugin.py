"""A pytest plugin: ``--numbasgd-machine`` adds the machine and its limits to any pytest-benchmark run.

``numbasgd compare`` then knows which machines two files are from, and what these can do.  A case may tell what
one call of it does, on "one" or "all" threads::

    benchmark.extra_info["numbasgd"] = {"flop": 2e9, "bytes": 12e6, "dtype": "float32", "threads": "one"}

Then its shares of the multiply-add peak and of the roofline are compared as well.

pytest imports this module in every run where numbasgd is installed; what measures is imported only when asked
for.
"""

from __future__ import annotations

from typing import Any

import pytest

OPTION = "--numbasgd-machine"


class Machine:
    """What is known of this machine, found out once when it is first needed."""

    def __init__(self) -> None:
        self._fingerprint: dict[str, Any] | None = None
        self._limits: dict[str, Any] | None = None

    @property
    def fingerprint(self) -> dict[str, Any]:
        """The facts that decide how fast a kernel runs."""
        if self._fingerprint is None:
            from numbasgd.machine.fingerprint import fingerprint

            self._fingerprint = fingerprint()
        return self._fingerprint

    def measure_limits(self) -> dict[str, Any]:
        """What the machine reaches; takes ten seconds at most, the first time."""
        if self._limits is None:
            from numbasgd.machine import peaks

            self._limits = peaks.limits(quick=True)
        return self._limits

    def header(self) -> list[str]:
        """The fingerprint for a reader, and what makes figures from this machine unusual."""
        from numbasgd.machine.fingerprint import lines, warnings_for

        return lines(self.fingerprint) + [
            f"WARNING:  {sentence}" for sentence in warnings_for(self.fingerprint)
        ]

    def block(self) -> dict[str, Any]:
        """What a result file carries as ``machine_info["numbasgd"]``: the limits only if they were measured."""
        return {**self.fingerprint, **({} if self._limits is None else {"limits": self._limits})}

    def add_shares(self, output_json: dict[str, Any]) -> None:
        """Write what each case reached of the machine's limits beside it, where its work is known."""
        if self._limits is None:
            return
        from numbasgd.machine.bounds import shares

        for bench in output_json["benchmarks"]:
            info = bench["extra_info"]
            info = info if "schema" in info else info.get("numbasgd", {})
            for name, share in shares(info, bench["stats"]["median"], self._limits).items():
                info.setdefault(name, share)


MACHINE = Machine()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The one option, off unless asked for."""
    parser.getgroup("numbasgd", "numbasgd, what benchmarks ran on").addoption(
        OPTION,
        action="store_true",
        help="With pytest-benchmark: write this machine (CPU, caches, BLAS, versions) and what it is measured "
        "to reach (arithmetic, bandwidth; 10 s at most, before the first benchmark) into the JSON that "
        "--benchmark-json and --benchmark-save make, so that 'numbasgd compare' can normalise it.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Do nothing at all unless asked."""
    if config.getoption("numbasgd_machine", False) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Plugin(config), "numbasgd-machine")


class _Plugin:
    """The hooks of a run with the option."""

    def __init__(self, config: pytest.Config) -> None:
        self._why_not = _why_not(config)

    def pytest_report_header(self) -> list[str]:
        if self._why_not:
            return [f"numbasgd: {OPTION} has no effect: {self._why_not}"]
        return MACHINE.header()

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Measure the limits before the first benchmark: a run without one is spared the time."""
        if not self._why_not and "benchmark" in getattr(item, "fixturenames", ()):
            MACHINE.measure_limits()

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_update_machine_info(self, machine_info: dict[str, Any]) -> None:
        if not self._why_not:
            machine_info["numbasgd"] = MACHINE.block()

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_update_json(self, output_json: dict[str, Any]) -> None:
        if not self._why_not:
            MACHINE.add_shares(output_json)


def _why_not(config: pytest.Config) -> str | None:
    """Why there is nothing to add to, or None."""
    if not config.pluginmanager.hasplugin("benchmark"):
        return "pytest-benchmark is not there (pip install pytest-benchmark)"
    if config.getoption("dist", "no") != "no" or config.getoption("numprocesses", None):
        return "under xdist pytest-benchmark measures nothing (run without -n)"
    if config.getoption("benchmark_disable", False) and not config.getoption("benchmark_enable", False):
        return "--benchmark-disable is given"
    return "--benchmark-skip is given" if config.getoption("benchmark_skip", False) else None
