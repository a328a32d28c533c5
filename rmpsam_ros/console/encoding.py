"""Camera images as the browser gets them: JPEG, made in a thread and once for all browsers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rmpsam_ros.node.input.images import WHITE_16, DecodedImage
from rmpsam_ros.node.input.reading import read_image

# What a browser may choose. More would only let it make the server encode more often.
QUALITIES = {"low": 50, "medium": 80, "high": 92}
SIDES = (0, 640, 1280)  # longest side, pixels; 0: as it is
_EXIF = b"\xff\xe1"


@dataclass(frozen=True, slots=True)
class Choice:
    """How a browser wants its images: a name of `QUALITIES` and one of `SIDES`."""

    quality: str = "medium"
    side: int = 0


def pixels_of(message: Any, mono16_white: int = WHITE_16) -> DecodedImage:
    """Return the pixels of an Image or CompressedImage message.

    Raises:
        ImageError: it cannot be read; the perception node refuses it with the same words. It may
            also refuse damaged ones, which are shown here.
    """
    return read_image(message, True, mono16_white)


def encode_jpeg(
    message: Any, choice: Choice, mono16_white: int = WHITE_16
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Return an image message as JPEG, and the size (height, width) of the *camera's* image.

    The data of a compressed image passes as it came, unless it holds what a browser would obey and
    the perception node does not (an orientation), or is wanted smaller.

    Args:
        mono16_white: as the perception node takes it, see `decode_image`.

    Raises:
        ImageError: the message cannot be read.
    """
    picture = pixels_of(message, mono16_white)
    height, width = picture.pixels.shape[:2]
    if not hasattr(message, "encoding") and not choice.side:
        data = np.frombuffer(message.data, np.uint8)
        head = data[:4096].tobytes()
        if head.startswith(b"\xff\xd8") and _EXIF not in head:
            return data, (height, width)
    pixels = picture.pixels
    factor = choice.side / max(height, width) if choice.side else 1.0
    if factor < 1.0:
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    if picture.channel_order == "rgb":
        pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), np.uint8)
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITIES[choice.quality]])
    return np.asarray(data, np.uint8).reshape(-1), (height, width)
