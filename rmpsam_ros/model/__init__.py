"""The RMP-SAM network in PyTorch: backbone, neck, decoder, adapters, classifier, checkpoints."""

from rmpsam_ros.model.checkpoint import (
    CheckpointError,
    load_checkpoint,
    read_metadata,
    save_checkpoint,
)
from rmpsam_ros.model.configs import MODEL_CONFIGS, ModelConfig, build_model
from rmpsam_ros.model.deform_conv import onnx_deform_conv
from rmpsam_ros.model.outputs import RawObjects, RawPrompts, StageOutput
from rmpsam_ros.model.packaged import packaged_weights, with_frozen_parts
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
    "load_checkpoint",
    "load_random_weights",
    "onnx_deform_conv",
    "packaged_weights",
    "random_text_embeddings",
    "read_metadata",
    "save_checkpoint",
    "with_frozen_parts",
]
