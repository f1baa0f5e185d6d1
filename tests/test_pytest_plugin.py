"""The plugin in the pytest of another project, in processes of their own."""

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from child import environment

from numbasgd import pytest_plugin
from numbasgd.compare import measures, reading

ROOT = Path(__file__).resolve().parents[1]
SUITE = """
import sys
import pytest

def test_fast(benchmark):
    benchmark.extra_info["numbasgd"] = {"flop": 2e3, "bytes": 64, "dtype": "float32", "threads": "one"}
    benchmark.pedantic(sum, args=(range(1000),), rounds=3)

def test_nothing_that_measures_is_imported():
    assert not {"numbasgd.machine.peaks", "numbasgd.machine.fingerprint"} & set(sys.modules)
"""
# Stands in for the seconds that measuring takes; the form of limits is tested beside them.
QUICKLY = """
import json
from numbasgd.machine import peaks
LIMIT = {"value": 100.0, "low": 90.0, "high": 101.0}
BLOCK = {"schema": 1, "threads": 1, "fma": {"float32": {"one": LIMIT, "all": LIMIT}},
         "levels": [{"name": "memory", "bytes": None, "read": 10.0}]}
peaks.limits = lambda quick: BLOCK
"""


@pytest.fixture
def run(tmp_path):
    """``run(*options, plugins=...)``: the other project's tests; gives (exit code, output, JSON or None)."""
    (tmp_path / "test_other.py").write_text(SUITE)
    (tmp_path / "quickly.py").write_text(QUICKLY)
    path = tmp_path / "out.json"

    def started(*options, json_file=True):
        options = [*options, f"--benchmark-json={path}"] if json_file else [*options]
        # pytest finds by itself the plugins of packages that are installed.
        if "numbasgd" not in importlib.metadata.entry_points(group="pytest11").names:
            options = ["-p", pytest_plugin.__name__, *options]
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-p",
                "no:cacheprovider",
                *options,
            ],
            cwd=tmp_path,
            env=environment(PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)])),
            capture_output=True,
            text=True,
            check=False,
        )
        return (
            done.returncode,
            done.stdout + done.stderr,
            json.loads(path.read_text()) if path.exists() else None,
        )

    return started


@pytest.mark.slow
def test_it_measures_nothing_unless_asked(run):
    code, said, found = run()
    assert code == 0, said  # one of the tests looks at what is imported
    assert "numbasgd" not in found["machine_info"]
    assert "peak_share" not in found["benchmarks"][0]["extra_info"]["numbasgd"]


def test_asked_it_adds_the_machine_its_limits_and_shares_and_compare_knows_them(run, tmp_path):
    code, said, found = run("-p", "quickly", pytest_plugin.OPTION, "-k", "fast")
    assert code == 0, said
    assert "machine:  " in said and "BLAS:     " in said
    machine = found["machine_info"]["numbasgd"]
    assert machine["schema"] == 1 and machine["cpu"]["cores"] >= 1
    assert machine["limits"]["fma"]["float32"]["one"]["value"] == 100.0
    [bench] = found["benchmarks"]
    share = 2e3 / 100e9 / bench["stats"]["median"]
    assert bench["extra_info"]["numbasgd"]["peak_share"] == pytest.approx(share)
    assert bench["extra_info"]["numbasgd"]["roofline_share"] >= share
    file = reading.read(tmp_path / "out.json")
    known = measures.measure(measures.Side("A", (file,)), file.cases[0].id)
    assert known.share("peak") == pytest.approx(share)
    assert known.bound is not None


@pytest.mark.slow
def test_without_benchmarks_nothing_is_measured(run):
    code, said, found = run("-p", "quickly", pytest_plugin.OPTION, "-k", "nothing", "--co")
    assert code == 0, said
    assert found is None


@pytest.mark.slow
def test_without_pytest_benchmark_it_says_so_and_does_no_harm(run):
    code, said, _ = run("-p", "no:benchmark", pytest_plugin.OPTION, "-k", "nothing", json_file=False)
    assert code == 0, said
    assert "--numbasgd-machine has no effect: pytest-benchmark is not there" in said


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--benchmark-disable", "--benchmark-skip"])
def test_where_nothing_is_timed_nothing_is_measured(run, option):
    code, said, _ = run(option, pytest_plugin.OPTION, "-k", "nothing", json_file=False)
    assert code == 0, said  # no numba was imported
    assert f"has no effect: {option} is given" in said


@pytest.mark.parametrize("settings", [{"dist": "load"}, {"dist": "no", "numprocesses": 2}])
def test_under_xdist_it_does_nothing(settings):
    class Config:
        class pluginmanager:  # noqa: N801
            registered = []
            hasplugin = staticmethod(lambda name: name == "benchmark")

            @classmethod
            def register(cls, plugin, name):
                cls.registered.append(plugin)

        def getoption(self, name, default=None):
            return {"numbasgd_machine": True, **settings}.get(name, default)

    config = Config()
    pytest_plugin.pytest_configure(config)
    [plugin] = Config.pluginmanager.registered
    assert "xdist" in plugin.pytest_report_header()[0]
    info = {}
    plugin.pytest_benchmark_update_machine_info(machine_info=info)
    assert info == {}
    config.workerinput = {}
    pytest_plugin.pytest_configure(config)
    assert len(Config.pluginmanager.registered) == 1, "not in a worker"


@pytest.mark.slow
def test_help_says_what_the_option_does(run):
    code, said, _ = run("--help", json_file=False)
    assert code == 0
    told = " ".join(said.split("--numbasgd-machine")[1].split())
    assert "10 s at most" in told and "'numbasgd compare' can normalise it" in told


def test_it_is_registered_where_numbasgd_is_installed():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["pytest11"] == {"numbasgd": pytest_plugin.__name__}
