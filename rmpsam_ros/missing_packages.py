"""What to do about a Python package that is not there."""

from __future__ import annotations

# By the name that is imported, where pip calls it otherwise.
_PIP_NAMES = {"cv2": "opencv-python-headless", "yaml": "PyYAML", "google": "protobuf"}
# What comes with ROS 2, and from pip only without it.
_ROS = ("rclpy", "sensor_msgs", "std_msgs", "diagnostic_msgs", "lifecycle_msgs", "ament")


def remedy_of(module: str | None) -> str:
    """Return how to get a module that could not be imported.

    Args:
        module: its name, as `ModuleNotFoundError.name` has it.
    """
    package = (module or "").partition(".")[0]
    if not package:
        return "install what is missing"
    if package.startswith(_ROS):
        return "source ROS 2 and the workspace first"
    return f"pip install {_PIP_NAMES.get(package, package)}"
