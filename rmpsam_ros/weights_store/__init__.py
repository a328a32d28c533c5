"""Which weights there are, where they come from, and whether a file is what it should be."""

from rmpsam_ros.weights_store.table import (
    WeightsEntry,
    WeightsError,
    find_weights,
    load_table,
    store_folder,
)

__all__ = ["WeightsEntry", "WeightsError", "find_weights", "load_table", "store_folder"]
