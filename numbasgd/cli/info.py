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
    from numbasgd.machine.fingerprint import fingerprint, lines_with_notes, warnings_for

    found = fingerprint()
    if args.json:
        print(json.dumps({**found, "warnings": warnings_for(found)}, indent=2))
    else:
        print("\n".join(lines_with_notes(found)))
    return 0
