"""From an image message of either type to pixels that are good enough to be processed."""

from __future__ import annotations

from typing import Any

from rmpsam_ros.node.input.compressed_images import decode_compressed
from rmpsam_ros.node.input.images import WHITE_16, DecodedImage, ImageError, decode_image

DARK_SHARE = 1.0 / 8.0  # of white, which the brightest pixel of a usable image exceeds


class DamagedImageError(ImageError):
    """An image whose data is damaged, so that some of its pixels are made up."""


def read_image(
    message: Any, take_damaged: bool = False, mono16_white: int = WHITE_16
) -> DecodedImage:
    """Read a ``sensor_msgs/Image`` or ``sensor_msgs/CompressedImage``.

    Args:
        take_damaged: return damaged images, with `DecodedImage.damage`, instead of refusing them.
        mono16_white: as of `decode_image`.

    Raises:
        DamagedImageError: the image is damaged.
        ImageError: it cannot be read at all.
    """
    if hasattr(message, "encoding"):
        return decode_image(message, mono16_white)
    image = decode_compressed(message)
    if image.damage and not take_damaged:
        raise DamagedImageError(
            f"JPEG is damaged: {image.damage}; check cable, link and camera driver, or set "
            "damaged_images: use"
        )
    return image


def darkness(image: DecodedImage, mono16_white: int) -> str:
    """Return why 16 bit grey comes out nearly black, and the remedy; empty: it does not."""
    if image.peak is None or image.peak > mono16_white * DARK_SHARE:
        return ""
    likely = next(white for white in (255, 1023, 4095, 16383, WHITE_16) if image.peak <= white)
    return (
        f"mono16 images are nearly black: their brightest value is about {image.peak}, and "
        f"{mono16_white} is white; if the camera's white is {likely}, set mono16_white: {likely}"
    )
