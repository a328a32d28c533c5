"""Results as images: classes, instances, and a drawing for people."""

import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.pipeline.results import FrameResult
from rmpsam_ros.segmentation.labels import LabelSet
from rmpsam_ros.segmentation.overlay import draw_overlay
from rmpsam_ros.segmentation.panoptic import instance_map
from rmpsam_ros.segmentation.prompt_overlay import draw_prompted

# 0 means "none" and 65535 "unlabelled" in a 16 bit instance image; the rest is for track ids.
INSTANCE_VALUES = 65534


def track_map(result: FrameResult, out: NDArray[np.uint16] | None = None) -> NDArray[np.uint16]:
    """Track of every pixel, (H, W): 0 none, else the track id brought into 1 to 65534.

    Args:
        out: where to write it; None: a new array.
    """
    values = {
        segment: (track - 1) % INSTANCE_VALUES + 1 for segment, track in result.track_ids.items()
    }
    return instance_map(result.panoptic, values, out)


def overlay(
    image: NDArray[np.uint8], result: FrameResult, label_set: LabelSet
) -> NDArray[np.uint8]:
    """Draw a result over its RGB image, (H, W, 3) uint8, and return a new one.

    Prompted masks lie on top; one of an earlier frame is drawn as a contour only.
    """
    canvas = draw_overlay(image, result.panoptic, label_set, result.track_ids)
    size = (result.height, result.width)
    draw_prompted(
        canvas,
        [
            (prompted.object_id, prompted.mask, prompted.stamp == result.stamp)
            for prompted in result.prompted
            if (prompted.mask.height, prompted.mask.width) == size
        ],
    )
    return canvas
