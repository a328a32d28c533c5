"""Results as messages, filled into whatever message classes there are, and read. No ROS here.

The node fills the classes that ROS 2 generates, `recordings` those that it makes from the same
definitions without ROS. Both go through `MessageFiller`, so that a recording holds what the node
publishes. `decode`, `label_names` and the other functions of `reading` are for subscribers.

Examples:
    >>> from types import SimpleNamespace
    >>> import numpy as np
    >>> from rmpsam_ros.messages import MessageFiller
    >>> from rmpsam_ros.segmentation.run_length import encode_mask
    >>> filler = MessageFiller(SimpleNamespace(array=np.ndarray.tolist))
    >>> message = SimpleNamespace(box=SimpleNamespace())
    >>> filler.fill_run_lengths(message, encode_mask(np.eye(2, dtype=bool))).counts
    [0, 1, 2, 1]

    And read, as a subscriber does; a track has its mask in it.

    >>> from rmpsam_ros.messages import area, box, decode
    >>> decode(SimpleNamespace(mask=message)).astype(int).tolist(), area(message), box(message)
    ([[1, 0], [0, 1]], 2, (0, 0, 2, 2))
    >>> decode(None) is None
    True
"""

from rmpsam_ros.messages.filling import MessageFiller, MessageTypes
from rmpsam_ros.messages.reading import (
    area,
    box,
    decode,
    decode_ids,
    label_names,
    pixels,
    run_lengths,
)

__all__ = [
    "MessageFiller",
    "MessageTypes",
    "area",
    "box",
    "decode",
    "decode_ids",
    "label_names",
    "pixels",
    "run_lengths",
]
