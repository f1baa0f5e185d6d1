"""The data: the chapter's airfoil file, its embedded twin, and tables of the user's own."""

from numbasgd.data.airfoil import load_airfoil
from numbasgd.data.read_options import ReadOptions
from numbasgd.data.table import Table, load_table, read_table
from numbasgd.data.twin import airfoil_twin

__all__ = ["ReadOptions", "Table", "airfoil_twin", "load_airfoil", "load_table", "read_table"]
