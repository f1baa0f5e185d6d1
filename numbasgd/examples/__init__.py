"""Short programs to read and to run: ``python -m numbasgd.examples.airfoil``, ``.digits``, ``.pipeline``."""
