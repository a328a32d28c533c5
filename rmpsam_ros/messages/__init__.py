"""Results as messages, filled into whatever message classes there are. No ROS here.

The node fills the classes that ROS 2 generates, `recordings` those that it makes from the same
definitions without ROS. Both go through `MessageFiller`, so that a recording holds what the node
publishes.

Examples:
    >>> from types import SimpleNamespace
    >>> import numpy as np
    >>> from rmpsam_ros.messages import MessageFiller
    >>> from rmpsam_ros.segmentation.run_length import encode_mask
    >>> filler = MessageFiller(SimpleNamespace(array=np.ndarray.tolist))
    >>> message = SimpleNamespace(box=SimpleNamespace())
    >>> filler.fill_run_lengths(message, encode_mask(np.eye(2, dtype=bool))).counts
    [0, 1, 2, 1]
"""

from rmpsam_ros.messages.filling import MessageFiller, MessageTypes

__all__ = ["MessageFiller", "MessageTypes"]
