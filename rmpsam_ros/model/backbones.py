"""The backbones by name."""

from __future__ import annotations

from collections.abc import Callable

from rmpsam_ros.model.lite_backbone import Lite0Backbone
from rmpsam_ros.model.resnet import ResNet
from rmpsam_ros.model.tiny_vit_backbone import TinyVitBackbone, TinyVitLite0Backbone

Backbone = ResNet | TinyVitBackbone | Lite0Backbone

BACKBONES: dict[str, Callable[[], Backbone]] = {
    "resnet18": lambda: ResNet(18),
    "resnet50": lambda: ResNet(50),
    "lite0": Lite0Backbone,
    "tiny_vit": TinyVitBackbone,
    "tiny_vit_lite0": TinyVitLite0Backbone,
}


def build_backbone(name: str) -> Backbone:
    """Build a backbone by name: images [B, 3, H, W] to c2..c5 at strides 4, 8, 16 and 32.

    Args:
        name: a key of ``BACKBONES``.

    Raises:
        ValueError: an unknown name.
    """
    if name not in BACKBONES:
        raise ValueError(f"unknown backbone {name!r}; choose one of: {', '.join(BACKBONES)}")
    return BACKBONES[name]()
