"""Short programs to read and to run, ``python -m numbasgd.examples.NAME``: airfoil, digits, pipeline, sparse."""
