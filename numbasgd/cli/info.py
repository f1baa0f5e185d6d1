"""Print what decides the speed on this machine: CPU, caches, BLAS and its running kernel, versions, GPU.

The same block travels in every benchmark file.  It holds no host name, user or path.
"""

from __future__ import annotations

import argparse
import json

HELP = "what this machine is: CPU, caches, BLAS kernel, versions, GPU"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``numbasgd info``."""
    parser.add_argument("--json", action="store_true", help="machine-readable, on standard output")


def run(args: argparse.Namespace) -> int:
    """Print the fingerprint, and warnings below it."""
    from numbasgd.machine.fingerprint import fingerprint, lines, warnings_for

    found = fingerprint()
    said = warnings_for(found)
    if args.json:
        print(json.dumps({**found, "warnings": said}, indent=2))
        return 0
    print("\n".join(lines(found)))
    for sentence in said:
        print(f"note:     {sentence}")
    return 0
