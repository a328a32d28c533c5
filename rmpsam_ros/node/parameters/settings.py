"""The values of all parameters, typed: one frozen dataclass for each table.

A test holds them against the tables: same names, same order, same types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rmpsam_ros.node.parameters.parameter import Parameter
from rmpsam_ros.node.parameters.table import NODE_PARAMETERS


@dataclass(frozen=True, slots=True)
class Settings:
    """Parameters of the perception node; `table.NODE_PARAMETERS` says what each one means."""

    # Start
    autostart: bool
    # Network
    model: str
    weights: str
    text_embeddings: str
    labels: str
    engine: str
    device: str
    num_threads: int
    stall_timeout: float
    long_side: int
    short_side: int
    # Results
    score_threshold: float
    overlap_threshold: float
    any_thing: bool
    duplicate_iou: float
    small_first: float
    thing_bonus: float
    min_piece: float
    min_area: float
    max_speck: float
    max_hole: float
    classes: str
    # Tracks
    confirm_hits: int
    memory_seconds: float
    backward_jump: float
    clip_frames: int
    # Topics
    cameras: str
    image_transport: str
    image_reliability: str
    damaged_images: str
    mono16_white: int
    input_timeout: float
    latency_warning: float
    overlay_rate: float
    # Depth and other packages
    use_depth: bool
    rectified: bool
    depth_tolerance: float
    cloud_rate: float
    cloud_stride: int
    mask_classes: str
    # Prompts
    prompt_engine: str
    prompt_weights: str
    keep_seconds: float
    keep_megabytes: int
    max_prompts: int
    prompt_rate: float
    prompt_requests_rate: float
    max_waiting_prompts: int
    prompt_timeout: float


@dataclass(frozen=True, slots=True)
class CameraSourceSettings:
    """Parameters of the camera source; see `camera_source_table`."""

    source: str
    rate: float
    loop: bool
    width: int
    height: int
    encoding: str
    frame_id: str
    field_of_view: float
    reliability: str


class LiveSettings(Protocol):
    """Hands out the settings as they are now; who needs consistent values takes them once."""

    @property
    def current(self) -> Settings:
        """The settings; a changed parameter gives another object."""


@dataclass(frozen=True, slots=True)
class FixedSettings:
    """Settings that do not change, where `LiveSettings` are expected."""

    current: Settings


def defaults(table: Mapping[str, Sequence[Parameter]] = NODE_PARAMETERS) -> dict[str, Any]:
    """Return the default of every parameter of a table, by name."""
    return {parameter.name: parameter.default for group in table.values() for parameter in group}
