"""RMP-SAM for ROS 2: panoptic segmentation, instance tracks and prompted masks from one network.

This module stays light on purpose: importing ``rmpsam_ros.msg`` must not import torch or OpenCV.
"""

__version__ = "0.1.0"
