"""Results as messages, filled into whatever message classes there are. No ROS here.

The node fills the classes that ROS 2 generates, `recordings` those that it makes from the same
definitions without ROS. Both go through `MessageFiller`, so that a recording holds what the node
publishes.
"""

from rmpsam_ros.messages.filling import MessageFiller, MessageTypes

__all__ = ["MessageFiller", "MessageTypes"]
