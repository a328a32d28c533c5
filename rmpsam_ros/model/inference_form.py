"""The form in which a network is executed and exported: the same function in fewer operations.

What is rewritten stands beside the module that it belongs to, in three methods that a module may
have:

- ``fold``: batch normalisations go into convolutions (``folding``);
- ``inference_form``: returns what takes the module's place, or itself after a change in place;
- ``exact_parts``: names what stays float32 when the module is converted to half precision.

A module without them is executed as it is: a new backbone needs none.

The largest gain is that features stay compact, 131 channels instead of 256 per pixel: the last
convolution of the neck is applied to queries instead (``Pixels``).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from rmpsam_ros.model.folding import fold_batch_norm, norm_as_affine

if TYPE_CHECKING:
    from rmpsam_ros.model.outputs import RawObjects, RawPrompts
    from rmpsam_ros.model.rmpsam import RmpSam

Network = TypeVar("Network", bound=nn.Module)

Shapes: TypeAlias = Mapping[str, tuple[int | str, ...]]
"""Shapes of tensors by name, in order; a string names an axis that may have any length."""


class Part(nn.Module):
    """One part of a network, as executors run it: float32 tensors in and out, by position.

    inputs, outputs: shapes by name. pieces: parts that compute the same one behind the other.
    unused: children of the network that it does not use.
    """

    def __init__(
        self,
        network: nn.Module,
        compute: Callable[..., tuple[Tensor, ...]],
        inputs: Shapes,
        outputs: Shapes,
        pieces: tuple[Part, ...] = (),
        unused: tuple[str, ...] = (),
    ) -> None:
        """compute: called with the network and the inputs, and returns the outputs."""
        super().__init__()
        self.pieces = pieces
        self.unused = unused
        self.network = network
        self.inputs = dict(inputs)
        self.outputs = dict(outputs)
        self._compute = compute

    @property
    def function(self) -> str:
        """Name of what is computed."""
        return self._compute.__qualname__

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return tuple(self.inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return tuple(self.outputs)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs, in the order of their names."""
        return self._compute(self.network, *inputs)


class InferenceForm:
    """A network ready to be executed, in parts that share their weights; a copy of its own."""

    def __init__(self, network: nn.Module, parts: Mapping[str, Part]) -> None:
        self.network = network
        self._parts = dict(parts)

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of all parts."""
        return tuple(self._parts)

    def part(self, name: str) -> Part:
        """Return a part by its name; ValueError for a name that is none."""
        if name not in self._parts:
            raise ValueError(f"the network has no part {name!r}; it has {', '.join(self._parts)}")
        return self._parts[name]

    def to(self, device: torch.device | str) -> InferenceForm:
        """Move all parts, in place."""
        self.network.to(device)
        return self


def inference_form(model: RmpSam, compute: torch.dtype) -> InferenceForm:
    """Return the inference form of a network; see ``RmpSam.inference_form``.

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
    form, dtype = exact_copy(model)
    form.lift = form.neck.take_lift()
    form.to(dtype)
    convert(form.backbone, compute)
    convert(form.neck, compute)
    return InferenceForm(form, _parts(channels_last(form)))


def exact_copy(model: Network) -> tuple[Network, torch.dtype]:
    """Return a copy with every module in its inference form, in float64, and its own dtype."""
    form = copy.deepcopy(model).eval().requires_grad_(False)
    dtype = next(form.parameters()).dtype
    form.double()
    _replace(form)
    fold_batch_norm(form)
    _replace_norms(form)
    return form.requires_grad_(False), dtype


def convert(module: nn.Module, dtype: torch.dtype) -> None:
    """Convert a module, in place, but in half precision not its exact parts and LayerNorms."""
    if dtype not in (torch.float16, torch.bfloat16):
        module.to(dtype)
        return
    exact = module.exact_parts(dtype) if isinstance(module, _PartlyExact) else ()
    for tensors in (module._parameters, module._buffers):
        for name, tensor in tensors.items():
            if name not in exact and tensor is not None and tensor.is_floating_point():
                setattr(module, name, _converted(tensor, dtype))
    for name, child in module.named_children():
        if isinstance(child, nn.LayerNorm):
            setattr(module, name, ExactLayerNorm(child))
        elif name not in exact:
            convert(child, dtype)


def channels_last(module: Network) -> Network:
    """Put all maps of weights, in place, into the layout that is executed fastest."""
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return module


class ExactLayerNorm(nn.Module):
    """A layer normalisation whose sums are float32, of tensors of any precision."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Normalise over the last axis."""
        return self.norm(x.to(self.norm.weight.dtype)).to(x.dtype)


class Affine(nn.Module):
    """A batch normalisation that no convolution took up: a factor and a summand per channel."""

    scale: Tensor
    offset: Tensor

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        scale, offset = norm_as_affine(norm)
        self.register_buffer("scale", scale.detach()[:, None, None], persistent=False)
        self.register_buffer("offset", offset.detach()[:, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, H, W] to the same."""
        return x * self.scale + self.offset


@runtime_checkable
class _PartlyExact(Protocol):
    exact_parts: Callable[[torch.dtype], tuple[str, ...]]


@runtime_checkable
class _Replaceable(Protocol):
    inference_form: Callable[[], nn.Module]


def _replace(module: nn.Module) -> None:
    for name, child in module.named_children():
        _replace(child)
        if isinstance(child, _Replaceable):
            setattr(module, name, child.inference_form())


def _replace_norms(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, Affine(child))
        else:
            _replace_norms(child)


def _converted(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(tensor.to(dtype), requires_grad=False)
    return tensor.to(dtype)


def _parts(network: RmpSam) -> dict[str, Part]:
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
    heads = tuple(name for name, _ in network.named_children() if name not in body)
    encoder = Part(network, _encoder, image, features, unused=heads)
    decoder = Part(network, _decoder, asked, {**objects, **prompts}, unused=body)
    return {
        "encoder": encoder,
        "decoder": decoder,
        "prompt_decoder": Part(network, _prompt_decoder, asked, prompts, unused=body),
        "tube_decoder": Part(network, _tube_decoder, tube, tube_objects, unused=body),
        "frame": Part(network, _frame, {**image, **boxes}, everything, (encoder, decoder)),
    }


def _encoder(network: RmpSam, image: Tensor) -> tuple[Tensor, ...]:
    return (network.features(image),)


def _decoder(network: RmpSam, features: Tensor, boxes: Tensor) -> tuple[Tensor, ...]:
    objects, prompts = network.decode(features, boxes)
    return (*_of_objects(objects), *_of_prompts(prompts))


def _prompt_decoder(network: RmpSam, features: Tensor, boxes: Tensor) -> tuple[Tensor, ...]:
    return _of_prompts(network.decode_prompts(features, boxes))


def _tube_decoder(network: RmpSam, features: Tensor) -> tuple[Tensor, ...]:
    return _of_objects(network.decode_tube(features))


def _frame(network: RmpSam, image: Tensor, boxes: Tensor) -> tuple[Tensor, ...]:
    features = network.features(image)
    return (features, *_decoder(network, features, boxes))


def _of_objects(objects: RawObjects) -> tuple[Tensor, ...]:
    return objects.class_logits, objects.mask_logits, objects.queries


def _of_prompts(prompts: RawPrompts) -> tuple[Tensor, ...]:
    return prompts.mask_logits, prompts.iou[..., 0]
