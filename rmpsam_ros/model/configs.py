"""Named configurations of the network and the way to build one."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from rmpsam_ros.model.rmpsam import RmpSam


@dataclass(frozen=True)
class ModelConfig:
    """What defines one network; defaults are docs/reference/rmpsam.md, section 16.

    Attributes:
        backbone: a key of ``BACKBONES``.
        neck_widths: see ``Neck``.
        anchored, names_from_pixels: see ``RmpSam``.
    """

    backbone: str
    num_queries: int = 100
    num_stages: int = 3
    dim: int = 256
    num_heads: int = 8
    ffn_dim: int = 2048
    aggregation_dim: int = 128
    text_dim: int = 768
    neck_widths: tuple[int, ...] = ()
    anchored: bool = False
    names_from_pixels: bool = False


MODEL_CONFIGS: dict[str, ModelConfig] = {
    "rmpsam_r18": ModelConfig("resnet18"),
    "rmpsam_r50": ModelConfig("resnet50"),
    "rmpsam_tiny_vit": ModelConfig("tiny_vit", anchored=True),
    "rmpsam_tiny_vit_lite0": ModelConfig("tiny_vit_lite0", anchored=True, names_from_pixels=True),
    "rmpsam_lite": ModelConfig(
        "lite0",
        aggregation_dim=64,
        neck_widths=(48, 48, 96, 160),
        anchored=True,
        names_from_pixels=True,
    ),
}


def build_model(name: str, text_embeddings: Tensor | None = None) -> RmpSam:
    """Build a network by name, in eval mode, with freshly initialised weights.

    Args:
        name: a key of ``MODEL_CONFIGS``.
        text_embeddings: [C, P, 768] unit vectors, the class table (see
            ``RmpSam.set_text_embeddings``). Without it the only class is "no object".

    Raises:
        ValueError: an unknown name or an unusable class table.
    """
    if name not in MODEL_CONFIGS:
        known = ", ".join(sorted(MODEL_CONFIGS))
        raise ValueError(f"unknown model {name!r}; choose one of: {known}")
    config = MODEL_CONFIGS[name]
    model = RmpSam(
        backbone=config.backbone,
        num_queries=config.num_queries,
        num_stages=config.num_stages,
        dim=config.dim,
        num_heads=config.num_heads,
        ffn_dim=config.ffn_dim,
        aggregation_dim=config.aggregation_dim,
        text_dim=config.text_dim,
        neck_widths=config.neck_widths,
        anchored=config.anchored,
        names_from_pixels=config.names_from_pixels,
    )
    if text_embeddings is not None:
        model.set_text_embeddings(text_embeddings)
    return model.eval()
