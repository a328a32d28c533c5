"""The parts that a network in its inference form is executed and exported in."""

from __future__ import annotations

from typing import Protocol, cast

from torch import Tensor, nn

from rmpsam_ros.model.classifier import TextClassifier
from rmpsam_ros.model.inference_form import Part, Shapes
from rmpsam_ros.model.outputs import RawObjects, RawPrompts


class Network(Protocol):
    """What is needed of an ``RmpSam``, which says what its methods do."""

    object_queries: Tensor
    lift: Tensor | None
    classifier: TextClassifier

    def features(self, images: Tensor) -> Tensor:
        """Return compact features [B, c, h, w] of images [B, 3, H, W]."""

    def decode(self, features: Tensor, boxes: Tensor) -> tuple[RawObjects, RawPrompts]:
        """Decode objects, and prompts from boxes [B, K, 4]."""

    def decode_prompts(self, features: Tensor, boxes: Tensor) -> RawPrompts:
        """Decode prompts from boxes [B, K, 4]."""

    def decode_tube(self, features: Tensor) -> RawObjects:
        """Decode the objects of a tube of features [T, c, h, w]."""


def parts(network: Network) -> dict[str, Part]:
    """Return the parts of a network in its inference form.

    B is the batch, N = 100, K the number of prompts (0 is allowed), H and W multiples of 32,
    h = H / 4, w = W / 4, c = 131; all inputs and outputs are float32:

    - encoder: ``image`` [B, 3, H, W] to ``features`` [B, c, h, w], compact;
    - decoder: ``features`` and ``boxes`` [B, K, 4] to ``class_logits`` [B, N, C + 1],
      ``mask_logits`` [B, N, h, w], ``queries`` [B, N, 256], ``prompt_mask_logits`` [B, K, h, w]
      and ``prompt_iou`` [B, K];
    - prompt_decoder: ``features`` and ``boxes`` to the last two;
    - tube_decoder: ``features`` [T, c, h, w] of one tube of T frames to the first three, of which
      ``mask_logits`` is [1, N, T, h, w];
    - frame: ``image`` and ``boxes`` to everything, ``features`` included.
    """
    num_objects, dim = network.object_queries.shape
    assert network.lift is not None
    masks = ("mask_height", "mask_width")
    image: Shapes = {"image": ("batch", 3, "height", "width")}
    features: Shapes = {"features": ("batch", network.lift.shape[1], *masks)}
    tube: Shapes = {"features": ("frames", network.lift.shape[1], *masks)}
    boxes: Shapes = {"boxes": ("batch", "prompts", 4)}
    classes = network.classifier.num_classes + 1
    objects: Shapes = {
        "class_logits": ("batch", num_objects, classes),
        "mask_logits": ("batch", num_objects, *masks),
        "queries": ("batch", num_objects, dim),
    }
    tube_objects: Shapes = {
        "class_logits": (1, num_objects, classes),
        "mask_logits": (1, num_objects, "frames", *masks),
        "queries": (1, num_objects, dim),
    }
    prompts: Shapes = {
        "prompt_mask_logits": ("batch", "prompts", *masks),
        "prompt_iou": ("batch", "prompts"),
    }
    everything = {**features, **objects, **prompts}
    asked = {**features, **boxes}
    body = ("backbone", "neck")
    module = cast(nn.Module, network)
    heads = tuple(name for name, _ in module.named_children() if name not in body)
    encoder = Part(module, _encoder, image, features, unused=heads)
    decoder = Part(module, _decoder, asked, {**objects, **prompts}, unused=body)
    return {
        "encoder": encoder,
        "decoder": decoder,
        "prompt_decoder": Part(module, _prompt_decoder, asked, prompts, unused=body),
        "tube_decoder": Part(module, _tube_decoder, tube, tube_objects, unused=body),
        "frame": Part(module, _frame, {**image, **boxes}, everything, (encoder, decoder)),
    }


def _encoder(network: Network, image: Tensor) -> tuple[Tensor, ...]:
    return (network.features(image),)


def _decoder(network: Network, features: Tensor, boxes: Tensor) -> tuple[Tensor, ...]:
    objects, prompts = network.decode(features, boxes)
    return (*_of_objects(objects), *_of_prompts(prompts))


def _prompt_decoder(network: Network, features: Tensor, boxes: Tensor) -> tuple[Tensor, ...]:
    return _of_prompts(network.decode_prompts(features, boxes))


def _tube_decoder(network: Network, features: Tensor) -> tuple[Tensor, ...]:
    return _of_objects(network.decode_tube(features))


def _frame(network: Network, image: Tensor, boxes: Tensor) -> tuple[Tensor, ...]:
    features = network.features(image)
    return (features, *_decoder(network, features, boxes))


def _of_objects(objects: RawObjects) -> tuple[Tensor, ...]:
    return objects.class_logits, objects.mask_logits, objects.queries


def _of_prompts(prompts: RawPrompts) -> tuple[Tensor, ...]:
    return prompts.mask_logits, prompts.iou[..., 0]
