"""Recordings through the live code: every frame, in order, the same bytes every time.

Nothing here needs a ROS installation: messages are read and written by the library rosbags, and
filled by the code that fills the node's.

Examples:
    >>> from rmpsam_ros.recordings.settings import config_of, read_settings
    >>> values, unknown = read_settings(overrides=["long_side:=800"])
    >>> config_of(values, with_prompts=False).long_side, unknown
    (800, [])
"""

# For every process that works on recordings, before NumPy is imported: how OpenBLAS rounds depends
# on how many threads it has, by default as many as the machine has cores. The node sets it, too.
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}
