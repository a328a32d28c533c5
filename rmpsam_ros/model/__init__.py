"""The RMP-SAM network in PyTorch: backbone, neck, decoder, adapters, classifier, checkpoints.

Examples:
    >>> import torch
    >>> from rmpsam_ros.model import build_model, random_text_embeddings
    >>> model = build_model("rmpsam_r18", random_text_embeddings("any", 5, 1))
    >>> with torch.inference_mode():
    ...     features = model.features(torch.zeros(1, 3, 64, 96))
    ...     objects = model.decode_objects(features)
    ...     prompts = model.decode_prompts(features, torch.tensor([[[0.2, 0.2, 0.6, 0.6]]]))
    >>> list(features.shape), list(objects.class_logits.shape), list(objects.mask_logits.shape)
    ([1, 256, 16, 24], [1, 100, 6], [1, 100, 16, 24])
    >>> list(prompts.mask_logits.shape)
    [1, 1, 16, 24]
"""

from rmpsam_ros.model.checkpoint import (
    CheckpointError,
    load_checkpoint,
    read_metadata,
    save_checkpoint,
)
from rmpsam_ros.model.configs import MODEL_CONFIGS, ModelConfig, build_model
from rmpsam_ros.model.outputs import RawObjects, RawPrompts, StageOutput
from rmpsam_ros.model.packaged import frozen_files, packaged_weights, with_frozen_parts
from rmpsam_ros.model.random_weights import load_random_weights, random_text_embeddings
from rmpsam_ros.model.rmpsam import RmpSam

__all__ = [
    "MODEL_CONFIGS",
    "CheckpointError",
    "ModelConfig",
    "RawObjects",
    "RawPrompts",
    "RmpSam",
    "StageOutput",
    "build_model",
    "frozen_files",
    "load_checkpoint",
    "load_random_weights",
    "packaged_weights",
    "random_text_embeddings",
    "read_metadata",
    "save_checkpoint",
    "with_frozen_parts",
]
