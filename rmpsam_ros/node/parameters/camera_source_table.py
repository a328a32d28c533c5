"""The parameters of the camera source; see `table`."""

from __future__ import annotations

from rmpsam_ros.node.parameters.parameter import Parameter

CAMERA_SOURCE_PARAMETERS: dict[str, tuple[Parameter, ...]] = {
    "Camera source": (
        Parameter(
            "source", "", "Video file, image, folder of images, or V4L2 device like /dev/video0."
        ),
        Parameter(
            "rate",
            0.0,
            "Images per second. 0: the rate of the video or device; 10 for images.",
            range=(0.0, 1000.0),
        ),
        Parameter("loop", False, "Start again at the end instead of exiting."),
        Parameter("width", 0, "Resize to this width, pixels; 0: as it is.", range=(0, 16384)),
        Parameter("height", 0, "Resize to this height, pixels; 0: as it is.", range=(0, 16384)),
        Parameter(
            "encoding",
            "rgb8",
            "Encoding of the images; jpeg and png are published on `image`/compressed.",
            choices=("rgb8", "bgr8", "rgba8", "bgra8", "mono8", "jpeg", "png"),
        ),
        Parameter("frame_id", "camera", "frame_id of the images."),
        Parameter(
            "field_of_view",
            60.0,
            "Horizontal field of view that `camera_info` is made of, a pinhole without "
            "distortion, degrees: a guess, because files say nothing of their camera. 0: none is "
            "published.",
            range=(0.0, 170.0),
        ),
        Parameter(
            "reliability",
            "reliable",
            "Reliability offered to subscribers.",
            choices=("reliable", "best_effort"),
        ),
    ),
}
