"""Short programs to read and to run: ``python -m numbasgd.examples.airfoil``, or digits, pipeline, sparse."""
