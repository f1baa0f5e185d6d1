"""The one answer about the CPU: what is compiled for, caches, cores and quotas, and that all who ask agree."""

import dataclasses
import itertools
import json
import platform
import textwrap

import llvmlite.binding as llvm
import pytest
from child import run_python
from machines import MACHINES

from numbasgd.compile import target as targets
from numbasgd.machine import cores, cpu, families

K, M = 1 << 10, 1 << 20
on_x86 = pytest.mark.skipif(not cpu.target().is_x86, reason="LLVM compiles for x86 only on x86 here")

AVX512 = targets.Target("x86-64-v4", "x86_64", 64, 32, True, "avx512")
AVX2 = targets.Target("haswell", "x86_64", 32, 16, True, "avx2")
NEON = targets.Target("neoverse-n1", "aarch64", 16, 32, True, "neon")
SSE = targets.Target("x86-64", "x86_64", 16, 16, False, "sse")


@on_x86
@pytest.mark.parametrize(
    ("name", "features", "expected"),
    [
        ("skylake", "", (32, 16, True, "avx2")),
        ("skylake", "+avx512f,+avx512vl", (64, 32, True, "avx512")),
        ("cascadelake", "", (64, 32, True, "avx512")),
        ("haswell", "", (32, 16, True, "avx2")),
        ("sandybridge", "", (32, 16, False, "avx")),
        ("znver3", "", (32, 16, True, "avx2")),
        ("icelake-server", "-avx512f", (32, 16, True, "avx2")),
        ("x86-64", "", (16, 16, False, "sse")),
        ("x86-64", "+avx", (32, 16, False, "avx")),
        ("x86-64", "-avx,+fma", (32, 16, True, "avx")),  # a multiply-add brings AVX back
        ("haswell", "-avx", (16, 16, False, "sse")),
        ("x86-64-v4", "", (64, 32, True, "avx512")),
    ],
)
def test_llvm_tells_what_it_compiles_for(name, features, expected):
    found = targets.probe(name, features)
    assert (found.vector, found.registers, found.has_fma, found.simd) == expected
    assert found.is_x86
    assert not found.is_arm


@pytest.mark.parametrize(
    ("architecture", "assembly", "features", "expected"),
    [
        ("x86_64", "vfmadd213ps %zmm0, %zmm1, %zmm31", "", (64, 32, True, "avx512")),
        ("x86_64", "vfmadd213ps %ymm0, %ymm1, %ymm15\nvpaddd %ymm1, %ymm2, %ymm3", "", (32, 16, True, "avx2")),
        ("x86_64", "vaddps %ymm0, %ymm1, %ymm15\nvpaddd %xmm1, %xmm2\ncallq fmaf", "", (32, 16, False, "avx")),
        ("x86_64", "vfmadd213ps %ymm0, %ymm1, %ymm2\nmovaps %xmm24, %xmm1", "", (32, 32, True, "avx")),
        ("x86_64", "addps %xmm0, %xmm1\ncallq fmaf", "+sse2,+fma", (16, 16, False, "sse")),
        ("aarch64", "fmla v0.4s, v1.4s, v2.4s", "+neon", (16, 32, True, "neon")),
        ("arm64", "fmla v0.4s, v1.4s, v2.4s", "", (16, 32, True, "neon")),
        ("aarch64", "fmla v0.4s, v1.4s, v2.4s", "+sve", (16, 32, True, "sve")),
        ("riscv64", "fmadd.s fa0, fa1, fa2, fa3", "", (16, 16, True, "unknown")),
        ("riscv64", "call fmaf", "", (16, 16, False, "unknown")),
    ],
)
def test_assembly_tells_the_target(architecture, assembly, features, expected):
    found = targets.read_assembly("any", architecture, assembly, features)
    assert (found.vector, found.registers, found.has_fma, found.simd) == expected
    assert "fma" not in found.features
    assert ("neon" in found.features) == found.is_arm


def _cache(folder, cpu_number, index, **files):
    place = folder / f"cpu{cpu_number}" / "cache" / f"index{index}"
    place.mkdir(parents=True)
    for name, text in files.items():
        (place / name).write_text(f"{text}\n")


def test_caches_are_read(tmp_path):
    assert cpu.read_caches(tmp_path) == {}
    assert cpu.read_caches(tmp_path / "none") == {}
    (tmp_path / "cpu0").mkdir()  # offline: it tells nothing, the next core does
    geometry = {"coherency_line_size": "64", "number_of_sets": "64"}
    shared = {"shared_cpu_list": "1,9", **geometry}
    _cache(tmp_path, 10, 0, level=1, type="Data", size="16K", ways_of_associativity=4, **shared)
    _cache(tmp_path, 9, 0, level=1, type="Data", size="48K", ways_of_associativity=12, **shared)
    _cache(tmp_path, 9, 1, level=1, type="Instruction", size="32K", ways_of_associativity=8, **shared)
    _cache(tmp_path, 9, 2, level=2, type="Unified", size="2M", ways_of_associativity=0, shared_cpu_list="?")
    _cache(tmp_path, 9, 3, level=3, type="Unified", size="?", shared_cpu_list="0-3,8")
    assert cpu.read_caches(tmp_path) == {
        1: cpu.Cache(1, 48 * K, 64, 12, 64, 2, 0.0),
        2: cpu.Cache(2, 2 * M, 0, 0, 0, 0, 0.0),  # whose size alone is told
    }
    assert [cpu.n_listed(text) for text in ("0-3,8", "5", "", "all")] == [5, 1, 0, 0]


def test_a_description_is_complete_whatever_is_told():
    told = {
        1: cpu.Cache(1, 48 * K, 64, 12, 64, 2, 0.0),
        2: cpu.Cache(2, 2 * M, 0, 0, 0, 0, 0.0),
        3: cpu.Cache(3, 260 * M, 64, 20, 0, 64, 0.0),
    }
    found = cpu.describe(AVX512, families.MESH, told)
    assert found == cpu.Machine(
        name="Intel mesh server core",
        vector=64,
        registers=32,
        has_fma=True,
        fma_pipes=2,
        caches=(
            cpu.Cache(1, 48 * K, 64, 12, 64, 2, 128),
            cpu.Cache(2, 2 * M, 64, 16, 2048, 1, 50),  # the ways of the family
            cpu.Cache(3, 260 * M, 64, 20, 212992, 64, 10.5),
        ),
        memory_bytes_per_cycle=6,
    )
    assert (found.l1, found.l2, found.l3) == (48 * K, 2 * M, 260 * M)
    del told[3]
    two_levels = cpu.describe(AVX512, families.MESH, told)
    assert two_levels.caches == found.caches[:2]
    assert two_levels.l3 == 8 * M
    for family, told in itertools.product(
        [value for value in vars(families).values() if isinstance(value, families.Family)],
        [{}, {1: cpu.Cache(1, 1, 64, 1, 1, 1, 0.0)}, {2: cpu.Cache(2, 1 << 40, 64, 0, 0, 1, 0.0)}],
    ):
        _holds_together(cpu.describe(AVX512, family, told))


@pytest.mark.parametrize("name", MACHINES)
def test_the_descriptions_of_the_tests_hold_together(name):
    _holds_together(MACHINES[name])


FAMILIES = {
    "zen4": (AVX512, families.ZEN4),
    "zen5": (AVX512, families.ZEN5),
    "emerald-rapids": (AVX512, families.MESH),
    "avx2": (AVX2, families.CLIENT),
    "sse": (SSE, families.X86),
    "neon": (NEON, families.NEOVERSE_N),
    "small-arm": (NEON, families.CORTEX_SMALL),
}


@pytest.mark.parametrize("name", MACHINES)
def test_the_descriptions_of_the_tests_are_those_of_their_families(name):
    target, family = FAMILIES[name]
    told = {cache.level: dataclasses.replace(cache, bytes_per_cycle=0.0) for cache in MACHINES[name].caches}
    assert cpu.describe(target, family, told) == MACHINES[name]


def _holds_together(machine):
    assert len(machine.caches) in (2, 3)
    for level, cache in enumerate(machine.caches, start=1):
        assert cache.level == level
        assert cache.line * cache.ways * cache.sets <= cache.size < cache.line * cache.ways * (cache.sets + 1)
        assert cache.shared_by >= 1
    sizes = [cache.size for cache in machine.caches]
    speeds = [cache.bytes_per_cycle for cache in machine.caches] + [machine.memory_bytes_per_cycle]
    assert sizes == sorted(sizes)
    assert speeds == sorted(speeds, reverse=True)
    assert speeds[-1] > 0
    assert machine.fma_pipes >= 1


def test_shorter_vectors_load_less_and_multiply_as_often_as_the_core_can():
    wide, narrow, old = (cpu.describe(target, families.ZEN4, {}) for target in (AVX512, AVX2, SSE))
    assert [machine.fma_pipes for machine in (wide, narrow, old)] == [1, 2, 1]
    assert [machine.caches[0].bytes_per_cycle for machine in (wide, narrow, old)] == [64, 64, 32]
    assert old.caches[1].bytes_per_cycle <= old.caches[0].bytes_per_cycle


@pytest.mark.parametrize(
    ("vendor", "family", "model", "expected"),
    [
        ("AuthenticAMD", 26, 2, "AMD Zen 5"),
        ("AuthenticAMD", 26, 0x24, "AMD Zen 5 mobile"),
        ("AuthenticAMD", 25, 17, "AMD Zen 4"),
        ("AuthenticAMD", 25, 0x61, "AMD Zen 4"),
        ("AuthenticAMD", 25, 1, "AMD Zen 2 or 3"),
        ("AuthenticAMD", 25, 0x50, "AMD Zen 2 or 3"),
        ("AuthenticAMD", 23, 49, "AMD Zen 2 or 3"),
        ("AuthenticAMD", 23, 1, "AMD Zen 1"),
        ("AuthenticAMD", 99, 1, "generic AVX2"),
        ("GenuineIntel", 6, 207, "Intel mesh server core"),
        ("GenuineIntel", 6, 85, "Intel mesh server core"),
        ("GenuineIntel", 6, 158, "Intel client core"),
        ("GenuineIntel", 6, 140, "Intel client core, AVX-512"),
        ("GenuineIntel", 6, 999, "generic AVX2"),
        ("CentaurHauls", 7, 1, "generic AVX2"),
        ("GenuineIntel", "six", "?", "generic AVX2"),
    ],
)
def test_the_family_of_an_x86(vendor, family, model, expected):
    found = {"vendor_id": vendor, "cpu family": str(family), "model": str(model)}
    assert families.family_of(found, True, False, 32).name == expected


@pytest.mark.parametrize(
    ("implementer", "part", "expected"),
    [
        ("0x41", "0xd0c", "Arm Neoverse N"),
        ("0x41", "0xd4f", "Arm Neoverse V"),
        ("0x41", "0xd08", "Arm Cortex-A, small"),
        ("0x41", "0xfff", "generic Arm"),
        ("0x61", "0x022", "Apple"),
        ("0xc0", "0xac3", "Arm Neoverse N"),
        ("?", "", "generic Arm"),
    ],
)
def test_the_family_of_an_arm(implementer, part, expected):
    found = {"CPU implementer": implementer, "CPU part": part}
    assert families.family_of(found, False, True, 16).name == expected


def test_what_is_not_known_gets_a_careful_description():
    assert families.family_of({}, True, False, 64).name == "generic AVX-512"
    assert families.family_of({}, True, False, 16).name == "generic x86"
    assert families.family_of({}, False, True, 16).name == "generic Arm"
    assert families.family_of({}, False, False, 16).name == "unknown"


def test_the_first_block_of_cpuinfo(tmp_path):
    path = tmp_path / "cpuinfo"
    assert cpu.cpuinfo(path) == {}
    path.write_text("processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel\t\t: 2\n\nprocessor\t: 1\nmodel\t: 3\n")
    assert cpu.cpuinfo(path) == {"processor": "0", "vendor_id": "AuthenticAMD", "model": "2"}


@pytest.fixture
def groups(monkeypatch, tmp_path):
    """Write ``{folder: {file: text}}`` of control groups and what the process says of its own."""
    monkeypatch.setattr(cores, "_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(cores, "_OWN_GROUPS", tmp_path / "own")

    def write(own, folders):
        (tmp_path / "own").write_text(own)
        for folder, files in folders.items():
            place = tmp_path / "cgroup" / folder
            place.mkdir(parents=True, exist_ok=True)
            for name, text in files.items():
                (place / name).write_text(text + "\n")

    return write


def _v1(limit, period=100000):
    return {"cpu.cfs_quota_us": str(limit), "cpu.cfs_period_us": str(period)}


@pytest.mark.parametrize(
    ("own", "folders", "expected"),
    [
        ("", {}, None),
        ("0::/\n", {".": {"cpu.max": "150000 100000"}}, 1.5),
        ("0::/\n", {".": {"cpu.max": "max 100000"}}, None),
        ("0::/\n", {".": {"cpu.max": ""}}, None),
        ("0::/a/b\n", {"a/b": {"cpu.max": "max 100000"}, "a": {"cpu.max": "200000 100000"}}, 2.0),
        ("0::/a/b\n", {"a/b": {"cpu.max": "300000 100000"}, "a": {"cpu.max": "50000 100000"}}, 0.5),
        ("0::/a/b\n", {"a/b": {"cpu.max": "100000 100000"}, "a": {"cpu.max": "400000 100000"}}, 1.0),
        # A container that sees only its own group at the root, under another name than its host's.
        ("0::/docker/1f\n", {".": {"cpu.max": "250000 100000"}}, 2.5),
        ("0::/../../other\n", {".": {"cpu.max": "250000 100000"}}, 2.5),
        ("4:cpu,cpuacct:/a/b\n", {"cpu,cpuacct/a/b": _v1(-1), "cpu,cpuacct/a": _v1(150000)}, 1.5),
        ("4:cpu,cpuacct:/a\n1:name=x:/z\n0::/\n", {"cpu/a": _v1(-1), "cpu": _v1(100000, 50000)}, 2.0),
        ("4:cpu:/\n0::/\n", {"cpu": _v1(-1)}, None),
        ("3:cpuset:/a\n", {"cpuset/a": _v1(100000)}, None),  # another controller's
        ("1:cpu:/\n0::/u\n", {"unified/u": {"cpu.max": "300000 100000"}, "cpu": _v1(400000)}, 3.0),
        ("0::/\n", {".": {"cpu.max": "100000 0"}}, None),
        ("0::/\n", {".": {"cpu.max": "lots of"}}, None),
    ],
)
def test_the_least_quota_of_nested_groups_counts(groups, own, folders, expected):
    groups(own, folders)
    assert cores.quota() == expected


@pytest.mark.parametrize(
    ("allowed", "limit", "expected"),
    [
        ([0, 1, 2, 3], None, 2),  # two hardware threads a core
        ([0, 1], None, 2),
        ([0, 2], None, 1),
        ([0, 1, 2, 3, 4], None, 3),  # of 4 nothing is told: a core
        ([0, 1], "150000 100000", 1),
        ([0, 1, 4], "250000 100000", 2),
        ([0, 1], "50000 100000", 1),
        ([0, 1], "900000 100000", 2),
    ],
)
def test_cores_are_those_allowed_less_hyperthreads_within_the_quota(
    monkeypatch, tmp_path, groups, allowed, limit, expected
):
    monkeypatch.setattr(cores, "_CPU", tmp_path / "cpu")
    monkeypatch.setattr(cores, "allowed_cpus", lambda: allowed)
    for number in range(4):
        place = tmp_path / "cpu" / f"cpu{number}" / "topology"
        place.mkdir(parents=True)
        (place / "thread_siblings_list").write_text(f"{number % 2},{number % 2 + 2}\n")
    groups("0::/\n", {".": {"cpu.max": limit}} if limit else {})
    assert cpu.n_cores() == expected


def test_the_host_has_a_description():
    found = cpu.host()
    _holds_together(found)
    assert found is cpu.host()
    assert found.name
    assert (found.vector, found.registers) == (cpu.target().vector, cpu.target().registers)
    assert cpu.n_cores() >= 1
    assert dataclasses.asdict(found)["caches"][0]["level"] == 1
    if cpu.target().is_x86:
        assert platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")


NAMES = ("skylake", "cascadelake", "haswell", "znver3", "x86-64", "x86-64-v4")
# Names alone, for which Numba still hands LLVM the host's features, and with the features of the name alone.
SETTINGS = {name: {"NUMBA_CPU_NAME": name} for name in NAMES}
SETTINGS |= {f"{name}-alone": {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": ""} for name in NAMES}
SETTINGS |= {"no-avx": {"NUMBA_ENABLE_AVX": "0"}, "no-avx512": {"NUMBA_CPU_FEATURES": "-avx512f"}}
# What code for a name may use, with the features of the name alone.
_AVX2 = {"avx2", "fma", "f16c", "bmi", "bmi2", "lzcnt", "movbe", "popcnt"}
_AVX512 = _AVX2 | {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}
USES = {16: {"sse2"}, 32: _AVX2, 64: _AVX512}

AGREES = """
    import json, re
    import numba
    import numpy as np
    from numba.core.registry import cpu_target
    import numbasgd
    from numbasgd.machine import cpu, fingerprint, probes
    from numbasgd.simd import vector

    found, machine = cpu.target(), cpu.host()
    told = fingerprint.fingerprint()["cpu"]
    lanes = vector.lanes_for(1 << 20, 4)
    # Compiled anew: of a function from the cache there is no assembly.
    loop = numba.njit(probes.make_multiply_add(lanes, probes.n_chains(), probes.has_fma()).py_func)
    loop(1, np.float32(1), np.float32(0.5), np.float32(0.5)) if RUNS else loop.compile("(i8, f4, f4, f4)")
    [assembly] = loop.inspect_asm().values()
    seen = re.findall(r"([xyz])mm(\\d+)", assembly)
    asked = cpu_target.target_context.codegen().magic_tuple()
    print(json.dumps({
        "asked": [asked[1], asked[2]] == list(requested_target()),
        "vector": [found.vector, machine.vector, vector.register_bytes(), 4 * lanes, told["register_bytes"],
                   told["description"]["vector_bytes"], 8 * vector.lanes_for(1 << 20, 8),
                   4 * numbasgd.matmul_plan(300, 300, 300).lanes,
                   8 * numbasgd.matmul_plan(300, 300, 300, np.float64).lanes,
                   {"x": 16, "y": 32, "z": 64}[max(seen)[0]]],
        "registers": [found.registers, machine.registers, told["description"]["registers"],
                      2 ** max(4, max(int(number) for _, number in seen).bit_length())],
        "fma": [found.has_fma, machine.has_fma, probes.has_fma(), told["description"]["has_fma"],
                "vfmadd" in assembly],
        "simd": [found.simd, told["simd"]],
    }))
"""
RIGHT = """
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64)[:DTYPES]:
        for m, n, k in ((33, 40, 17), (20, 7, 300), (1, 64, 64), (300, 200, 500))[:SHAPES]:
            A, B = (rng.standard_normal(shape).astype(dtype) for shape in ((m, k), (k, n)))
            bound = 2 * k * np.finfo(dtype).eps * (np.abs(A) @ np.abs(B)).max()
            assert np.abs(numbasgd.matmul(A, B) - A.astype("f8") @ B.astype("f8")).max() <= bound, (m, n, k)
        X, y = rng.standard_normal((32, 5)).astype(dtype), rng.standard_normal(32).astype(dtype)
        fit = numbasgd.train(X, y, batch_size=32, lr=0.1, epochs=1, seed=0)
        expected = 0.1 * (X.astype("f8").T @ y) / 32
        np.testing.assert_allclose(fit.w, expected, rtol=1e-4 if dtype == np.float32 else 1e-10)
"""


@on_x86
@pytest.mark.parametrize(
    ("setting", "n_dtypes", "n_shapes"),
    [
        pytest.param("haswell-alone", 1, 1, marks=pytest.mark.slow),
        pytest.param("no-avx", 1, 1, marks=pytest.mark.slow),
        *(pytest.param(name, 1, 2, marks=pytest.mark.slow) for name in SETTINGS if "alone" not in name),
        *(pytest.param(name, 2, 4, marks=pytest.mark.slow) for name in SETTINGS if "alone" in name),
    ],
)
def test_all_readers_agree_and_results_are_right(setting, n_dtypes, n_shapes):
    """Whatever Numba is told to compile for; without results where this host has not the instructions."""
    settings = {name: None for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_ENABLE_AVX")}
    settings |= SETTINGS[setting]
    expected = targets.probe(settings["NUMBA_CPU_NAME"], "") if setting.endswith("alone") else None
    has = {name for name, is_there in llvm.get_host_cpu_features().items() if is_there}
    is_able = expected is None or has >= USES[expected.vector]
    code = f"RUNS, DTYPES, SHAPES = {is_able}, {n_dtypes}, {n_shapes}\n"
    code += "from numbasgd.compile.numba_private import requested_target\n" + textwrap.dedent(AGREES)
    if is_able:
        code += textwrap.dedent(RIGHT)
    found = json.loads(run_python(code, **settings))
    assert found.pop("asked"), "Numba hands LLVM something else"
    for what, answers in found.items():
        assert len(set(answers)) == 1, f"{what}: {answers}"
    if expected is not None:
        one = {what: answers[0] for what, answers in found.items()}
        assert one == {
            "vector": expected.vector,
            "registers": expected.registers,
            "fma": expected.has_fma,
            "simd": expected.simd,
        }
    if not is_able:
        pytest.skip(f"all agree; this host lacks {sorted(USES[expected.vector] - has)}, so nothing was run")
