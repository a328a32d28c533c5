"""Promptable models of the efficient SAM family: MobileSAM, RepViT-SAM and RWKV-SAM."""

from rmpsam_ros.model.checkpoint import CheckpointError
from rmpsam_ros.model.sam.checkpoint import load_prompt_model, save_weights
from rmpsam_ros.model.sam.prompt_model import (
    IMAGE_SIZE,
    MASK_SIZE,
    MAX_PROMPTS,
    ImageEmbedding,
    PromptModel,
)
from rmpsam_ros.model.sam.registry import PROMPT_MODELS, build_prompt_model

__all__ = [
    "IMAGE_SIZE",
    "MASK_SIZE",
    "MAX_PROMPTS",
    "PROMPT_MODELS",
    "CheckpointError",
    "ImageEmbedding",
    "PromptModel",
    "build_prompt_model",
    "load_prompt_model",
    "save_weights",
]
