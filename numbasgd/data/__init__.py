"""The data: the chapter's airfoil file, its embedded twin, and tables of the user's own."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from numbasgd.data.airfoil import load_airfoil
from numbasgd.data.twin import airfoil_twin

if TYPE_CHECKING:
    from numbasgd.data.read_options import ReadOptions
    from numbasgd.data.shard_writer import write_shards
    from numbasgd.data.shards import open_shards
    from numbasgd.data.table import Table, load_table, open_table, read_table

__all__ = [
    "ReadOptions",
    "Table",
    "airfoil_twin",
    "load_airfoil",
    "load_table",
    "open_shards",
    "open_table",
    "read_table",
    "write_shards",
]

# ``import numbasgd`` comes by here, and most programs have no table to read.
_LATER = {
    "ReadOptions": "read_options",
    "Table": "table",
    "load_table": "table",
    "open_shards": "shards",
    "open_table": "table",
    "read_table": "table",
    "write_shards": "shard_writer",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
