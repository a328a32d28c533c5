"""Named configurations of the SAM family."""

from collections.abc import Callable

from rmpsam_ros.model.sam.mask_decoder import FeatureFusion, MaskDecoder
from rmpsam_ros.model.sam.prompt_encoder import PromptEncoder
from rmpsam_ros.model.sam.prompt_model import PromptModel
from rmpsam_ros.model.sam.repvit import RepVit
from rmpsam_ros.model.sam.rwkv import RwkvEncoder
from rmpsam_ros.model.sam.tiny_vit import TinyVit


def _mobile_sam() -> PromptModel:
    return PromptModel(TinyVit(), PromptEncoder(), MaskDecoder())


def _repvit_sam() -> PromptModel:
    return PromptModel(RepVit(), PromptEncoder(), MaskDecoder())


def _rwkv_sam(c1: int, c2: int, c3: int) -> PromptModel:
    decoder = MaskDecoder(num_masks=1, fusion=FeatureFusion(c1, c2))
    return PromptModel(RwkvEncoder((c1, c2, c3)), PromptEncoder(), decoder)


PROMPT_MODELS: dict[str, Callable[[], PromptModel]] = {
    "mobile_sam": _mobile_sam,
    "repvit_sam": _repvit_sam,
    "rwkv_sam_t": lambda: _rwkv_sam(32, 64, 192),
    "rwkv_sam_s": lambda: _rwkv_sam(64, 128, 384),
    "rwkv_sam_b": lambda: _rwkv_sam(128, 256, 768),
}
"""Builders of all promptable models, by name."""


def build_prompt_model(name: str) -> PromptModel:
    """A model of the registry with untrained weights, as it is trained, in eval mode.

    `checkpoint.load_prompt_model` gives trained ones.

    Raises:
        ValueError: an unknown name.
    """
    if name not in PROMPT_MODELS:
        raise ValueError(f"no promptable model is called {name!r}; known: {sorted(PROMPT_MODELS)}")
    return PROMPT_MODELS[name]().eval()
