"""Promptable models of the efficient SAM family: MobileSAM, RepViT-SAM and RWKV-SAM.

Examples:
    >>> import torch
    >>> from rmpsam_ros.model.sam import PROMPT_MODELS, build_prompt_model
    >>> sorted(PROMPT_MODELS)
    ['mobile_sam', 'repvit_sam', 'rwkv_sam_b', 'rwkv_sam_s', 'rwkv_sam_t']
    >>> model = build_prompt_model("mobile_sam")
    >>> sum(weights.numel() for weights in model.parameters())
    10130092
"""

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
