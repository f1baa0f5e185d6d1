"""``python -m numbasgd`` is the command ``numbasgd``."""

import sys

from numbasgd.cli import main

if __name__ == "__main__":
    sys.exit(main())
