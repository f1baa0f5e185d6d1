"""Short programs to read and to run with ``python -m numbasgd.examples.NAME``."""
