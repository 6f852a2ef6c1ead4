"""The warehouse: tables projected from the event log, and the named queries that people and reports read."""

from .answer import Answer
from .loader import CONSUMER, FOLDER, Loaded, Loader, LoaderBusy
from .manifest import WarehouseCorrupt
from .queries import QUERIES, Query
from .service import Warehouse
from .tables import TABLES

__all__ = [
    "CONSUMER",
    "FOLDER",
    "QUERIES",
    "TABLES",
    "Answer",
    "Loaded",
    "Loader",
    "LoaderBusy",
    "Query",
    "Warehouse",
    "WarehouseCorrupt",
]
