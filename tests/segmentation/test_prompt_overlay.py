"""Prompted masks drawn over a picture."""

import numpy as np
import pytest

from rmpsam_ros.segmentation.prompt_overlay import draw_prompted, object_color
from rmpsam_ros.segmentation.run_length import encode_mask


def block(height=120, width=160):
    mask = np.zeros((height, width), bool)
    mask[60:100, 40:100] = True
    return mask


def test_a_mask_of_this_picture_is_tinted_and_an_older_one_has_a_contour():
    for is_current in (True, False):
        canvas = np.zeros((120, 160, 3), np.uint8)
        draw_prompted(canvas, [("cup", encode_mask(block()), is_current)])
        assert canvas[80, 70].any() == is_current
        assert tuple(canvas[60, 70].tolist()) == object_color("cup")
        assert not canvas[110:, 110:].any()


def test_nothing_is_drawn_of_a_lost_object():
    canvas = np.zeros((120, 160, 3), np.uint8)
    draw_prompted(canvas, [("cup", encode_mask(np.zeros((120, 160), bool)), True)])
    assert not canvas.any()


@pytest.mark.parametrize("object_id", ["", "x" * 500, "Taße\n\0", "object-1"])
@pytest.mark.parametrize("corner", [(0, 0), (110, 150)])
def test_any_id_at_any_place(object_id, corner):
    mask = np.zeros((120, 160), bool)
    mask[corner[0] :, corner[1] :] = True
    canvas = np.zeros((120, 160, 3), np.uint8)
    draw_prompted(canvas, [(object_id, encode_mask(mask), True)])
    assert canvas.any()


def test_ids_have_colours_of_their_own():
    colors = {object_color(f"object-{k}") for k in range(16)}
    assert len(colors) >= 14 and object_color("cup") == object_color("cup")


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(ValueError, match="160 x 120"):
        draw_prompted(np.zeros((60, 80, 3), np.uint8), [("cup", encode_mask(block()), True)])
