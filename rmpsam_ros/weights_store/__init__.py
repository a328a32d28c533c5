"""Known weights: their sources and licences, fetching, verifying and describing files.

Examples:
    >>> from rmpsam_ros.weights_store import find_weights, load_table
    >>> table = load_table()
    >>> table["mobile_sam"].licence, table["mobile_sam"].packaged
    ('Apache-2.0', True)
    >>> find_weights("mobile_sam").name
    'mobile_sam.safetensors'
"""

from rmpsam_ros.weights_store.table import (
    WeightsEntry,
    WeightsError,
    find_weights,
    load_table,
    store_folder,
)

__all__ = ["WeightsEntry", "WeightsError", "find_weights", "load_table", "store_folder"]
