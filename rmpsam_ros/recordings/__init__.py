"""Recordings through the live code: every frame, in order, the same bytes every time.

Nothing here needs a ROS installation: messages are read and written by the library rosbags, and
filled by the code that fills the node's.
"""
