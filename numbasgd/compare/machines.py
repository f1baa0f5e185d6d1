"""How machines differ, and what each difference does to a comparison.

``KEYS`` is the one table of that.  A difference has one of three kinds, and which one depends on what is
compared: times, shares of the reference (the BLAS) that the same run measured on the same machine, or shares
of that machine's measured limits.  Another CPU makes times incomparable and is normalized away in shares;
another BLAS library does not change the times of our kernels, but makes shares of it incomparable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from numbasgd.compare.results import Case, ResultFile

INCOMPARABLE = "makes these figures incomparable"
NORMALIZED = "is normalized away"
INFORMATION = "for information"

# Pattern of a key; what its difference does to times, to shares of the BLAS, to shares of measured limits.
# The first match counts.
KEYS = (
    ("schema", INFORMATION, INFORMATION, INFORMATION),
    ("cpu.load*", INFORMATION, INFORMATION, INFORMATION),
    ("cpu.steal*", INFORMATION, INFORMATION, INFORMATION),
    ("cpu.mhz*", INFORMATION, INFORMATION, INFORMATION),
    ("cpu.*", INCOMPARABLE, NORMALIZED, NORMALIZED),
    ("system", INCOMPARABLE, NORMALIZED, NORMALIZED),
    ("gpu", INCOMPARABLE, NORMALIZED, NORMALIZED),
    ("gpu.driver*", INFORMATION, INFORMATION, INFORMATION),
    ("gpu.*", INCOMPARABLE, NORMALIZED, NORMALIZED),
    ("blas.name", INFORMATION, INCOMPARABLE, INFORMATION),
    ("env.OPENBLAS_CORETYPE", INFORMATION, INCOMPARABLE, INFORMATION),
    ("env.OPENBLAS_L2_SIZE", INFORMATION, INCOMPARABLE, INFORMATION),
    ("env.MKL_ENABLE_INSTRUCTIONS", INFORMATION, INCOMPARABLE, INFORMATION),
    ("env.MKL_DEBUG_CPU_TYPE", INFORMATION, INCOMPARABLE, INFORMATION),
    ("env.BLIS_ARCH_TYPE", INFORMATION, INCOMPARABLE, INFORMATION),
    ("*", INFORMATION, INFORMATION, INFORMATION),
)
ABSENT = "-"
_UNKNOWN = (ABSENT, "unknown", "None")


@dataclass(frozen=True)
class Difference:
    """A key on which two or more machines differ.

    values : one per side, ``-`` where a side says nothing.  kinds : its kind for times, shares of the BLAS,
    and shares of measured limits.
    """

    key: str
    values: tuple[str, ...]
    kinds: tuple[str, str, str]

    def kind(self, metric: str) -> str:
        """What it does to the figures of ``metric``."""
        return self.kinds[{"time": 0, "blas": 1}.get(metric, 2)]


def letter(place: int) -> str:
    """What a side is called: A, B, ..., Z, A1, B1, ..."""
    return chr(ord("A") + place % 26) + (str(place // 26) if place >= 26 else "")


def describe(file: ResultFile, *, ours: bool = True) -> dict[str, str]:
    """The machine as flat text, from our block or (``ours`` False) from what pytest-benchmark says."""
    if not ours or not file.fingerprint:
        return dict(file.platform)
    # Limits are measurements, which differ from run to run; shares are computed from them.
    return _flat({key: value for key, value in file.fingerprint.items() if key != "limits"})


def differences(files: Sequence[ResultFile]) -> tuple[Difference, ...]:
    """The keys whose values differ, in the order of ``KEYS``, then by name."""
    ours = all(file.fingerprint for file in files)
    machines = [describe(file, ours=ours) for file in files]
    found = []
    for key in sorted({key for machine in machines for key in machine}):
        values = tuple(machine.get(key, ABSENT) for machine in machines)
        if len(set(values)) > 1:
            found.append((_place(key), _difference(key, values)))
    return tuple(difference for _, difference in sorted(found, key=lambda pair: (pair[0], pair[1].key)))


def obstacles(found: Sequence[Difference], case: Case, metric: str) -> list[str]:
    """The keys that keep this case's figures of ``metric`` from being compared."""
    return [
        difference.key
        for difference in found
        if difference.kind(metric) == INCOMPARABLE
        and not (case.device == "cpu" and difference.key.startswith("gpu"))
    ]


def _difference(key: str, values: tuple[str, ...]) -> Difference:
    _, *kinds = KEYS[_place(key)]
    known = {value for value in values if value not in _UNKNOWN}
    # A variable that is set on one side only is a difference; a fact that one side lacks is not.
    if len(known) < 2 and not key.startswith("env."):
        kinds = [INFORMATION] * 3
    return Difference(key, values, (kinds[0], kinds[1], kinds[2]))


def _place(key: str) -> int:
    return next(i for i, (pattern, *_) in enumerate(KEYS) if fnmatchcase(key, pattern))


def _flat(block: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in block.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + str(key)] = str(value)
    return flat
