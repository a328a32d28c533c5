"""Parts of the image encoders that goldens of whole encoders do not pin down."""

from __future__ import annotations

import pytest
import torch

from rmpsam_ros.model.sam.repvit import SqueezeExcite
from rmpsam_ros.model.sam.rwkv import RwkvBackbone, q_shift
from rmpsam_ros.model.sam.tiny_vit import WindowAttention, join_windows, split_windows


@pytest.mark.parametrize(("height", "width"), [(14, 14), (7, 7), (8, 15), (1, 1), (64, 50)])
def test_windows_are_joined_as_they_were_split(height: int, width: int) -> None:
    cells = torch.randn(2, height, width, 3)
    windows, padded = split_windows(cells, 7)
    rows, columns = -(-height // 7), -(-width // 7)
    assert windows.shape == (2 * rows * columns, 49, 3)
    assert padded == (7 * rows, 7 * columns)
    assert torch.equal(join_windows(windows, 7, padded, cells.shape), cells)


def test_a_window_holds_neighbouring_cells() -> None:
    cells = torch.arange(14 * 14.0).reshape(1, 14, 14, 1)
    windows, _ = split_windows(cells, 7)
    assert torch.equal(windows[1].reshape(7, 7), cells[0, :7, 7:, 0])


def test_attention_bias_depends_on_the_offset_without_its_sign() -> None:
    attention = WindowAttention(64, 2, 3)
    index = attention.offset_index.reshape(3, 3, 3, 3)
    for y, x, v, u in torch.cartesian_prod(*[torch.arange(3)] * 4).tolist():
        assert index[y, x, v, u] == abs(y - v) * 3 + abs(x - u)


def test_attention_bias_follows_weights_that_are_loaded_in_eval_mode() -> None:
    """The official code keeps an old table here."""
    attention = WindowAttention(64, 2, 3).eval()
    x = torch.randn(1, 9, 64)
    with torch.no_grad():
        before = attention(x)
        state = attention.state_dict()
        state["attention_biases"] = torch.randn(2, 9)
        attention.load_state_dict(state)
        assert not torch.allclose(attention(x), before)


@pytest.mark.parametrize(("width", "reduced"), [(80, 24), (160, 40), (320, 80), (640, 160)])
def test_squeeze_width_is_a_quarter_to_the_nearest_eight(width: int, reduced: int) -> None:
    assert SqueezeExcite(width).fc1.out_channels == reduced


def test_q_shift_takes_each_quarter_from_another_neighbour() -> None:
    """A map whose cells hold their own number, in four channels."""
    numbers = torch.arange(1.0, 13).reshape(1, 12, 1).expand(1, 12, 4)
    shifted = q_shift(numbers, (3, 4)).reshape(3, 4, 4)
    assert shifted[1, 1].tolist() == [5, 7, 2, 10]  # left, right, upper, lower of 6
    assert shifted[0, 0].tolist() == [0, 2, 0, 5]
    assert shifted[2, 3].tolist() == [11, 0, 8, 0]


def test_positions_of_the_same_grid_are_the_table_itself() -> None:
    backbone = RwkvBackbone((8, 16, 24), depths=(1, 1, 1), position_grid=(4, 6))
    assert backbone.positions((4, 6)) is backbone.pos_embed
    assert backbone.positions((5, 7)).shape == (1, 35, 24)


def test_positions_need_a_table() -> None:
    backbone = RwkvBackbone((8, 16, 24), depths=(1, 1, 1))
    with pytest.raises(ValueError, match="without a table"):
        backbone.positions((4, 6))
