"""RMP-SAM: one network for panoptic, video instance and interactive segmentation (paper fig. 2).

- images -> backbone -> neck -> features F
- queries: objects (learned) and prompts (encoded boxes)
- shared decoder: three times mask pooling, gated update, self attention, FFN, new masks
- object adapter: pooling and gated update; prompt adapter: cross attention over F
- masks = <query, F>, class logits, IoU
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from rmpsam_ros.model.adapters import ObjectAdapter, PromptAdapter
from rmpsam_ros.model.anchors import box_masks, grid_cells
from rmpsam_ros.model.backbones import build_backbone
from rmpsam_ros.model.classifier import STAGE_TEMPERATURE, TextClassifier
from rmpsam_ros.model.decoder import Decoder, DecoderOutput
from rmpsam_ros.model.inference_form import (
    InferenceForm,
    channels_last,
    convert,
    exact_copy,
)
from rmpsam_ros.model.neck import Neck
from rmpsam_ros.model.network_parts import Network, parts
from rmpsam_ros.model.outputs import RawObjects, RawPrompts, StageOutput
from rmpsam_ros.model.pixels import Pixels
from rmpsam_ros.model.prompt_encoder import PromptEncoder

IMAGE_STRIDE = 32
"""Height and width of the input must be multiples of this."""


class RmpSam(nn.Module):
    """The complete network; build it with ``build_model``.

    Backbone and neck may run in half precision (``model.backbone.half()``,
    ``model.neck.half()``). Everything behind them stays in float32: it sums features over whole
    masks, and such sums overflow float16.
    """

    lift: Tensor | None
    cells: Tensor | None

    def __init__(
        self,
        backbone: str,
        num_queries: int,
        num_stages: int,
        dim: int,
        num_heads: int,
        ffn_dim: int,
        aggregation_dim: int,
        text_dim: int,
        neck_widths: tuple[int, ...] = (),
        anchored: bool = False,
        names_from_pixels: bool = False,
    ) -> None:
        """``anchored``: the first stage pools every query over a box instead of <query, F>.

        The box of a prompt is the prompt itself, that of an object query its cell of a square
        grid. Both then begin with what is there, which training on little data needs: where a
        query looks at first is not something it has to learn. Boxes are relative to the padded
        image, as the coordinate channels of F are.
        ``names_from_pixels``: the class of an object is also read from its pooled features
        directly. On their way through the gated updates of the queries, little data does not
        teach them to keep what kind of object they are of.
        The official network has neither.
        """
        super().__init__()
        self.dim = dim
        self.backbone = build_backbone(backbone)
        self.neck = Neck(self.backbone.out_channels, aggregation_dim, dim, neck_widths)
        self.object_queries = nn.Parameter(torch.randn(num_queries, dim))
        self.prompt_encoder = PromptEncoder(dim)
        self.decoder = Decoder(num_stages, dim, num_heads, ffn_dim, text_dim)
        self.object_adapter = ObjectAdapter(dim, text_dim, names_from_pixels)
        self.prompt_adapter = PromptAdapter(dim, num_heads)
        self.classifier = TextClassifier(text_dim)
        self.register_buffer("lift", None, persistent=False)
        cells = grid_cells(num_queries) if anchored else None
        self.register_buffer("cells", cells, persistent=False)

    @property
    def anchored(self) -> bool:
        """Whether the first stage pools over boxes."""
        return self.cells is not None

    def set_text_embeddings(self, text_embeddings: Tensor) -> None:
        """Exchange the classes the network tells apart; no weight changes.

        Args:
            text_embeddings: [C, P, 768] unit vectors, up to P synonyms for each of C classes, a
                class with fewer padded with copies of its first. C may be 0.

        Raises:
            ValueError: another shape, vectors that are not of unit length, or NaN.

        Source: docs/reference/rmpsam.md, section 5.
        """
        self.classifier.set_text_embeddings(text_embeddings)

    def features(self, images: Tensor) -> Tensor:
        """Return the feature map F, [B, 256, H/4, W/4].

        Args:
            images: [B, 3, H, W], normalised RGB, zero-padded so that H and W are multiples of 32.

        Of the network in an ``InferenceForm``, F is compact: [B, 131, H/4, W/4] float32.
        """
        height, width = images.shape[-2:]
        padded = height % IMAGE_STRIDE == 0 and width % IMAGE_STRIDE == 0
        if images.ndim != 4 or images.shape[1] != 3 or not padded:
            raise ValueError(
                f"images have shape {list(images.shape)}; expected [batch, 3, height, width] with "
                f"height and width padded to multiples of {IMAGE_STRIDE}"
            )
        levels = self.backbone(images.to(self.neck.output_conv.weight.dtype))
        if self.lift is not None and self.neck.location_conv is not None:
            return self.neck.compact(levels)
        return self.neck(levels)

    @contextmanager
    def compact(self) -> Iterator[None]:
        """While active, features are compact, [B, A + 3, H/4, W/4], and results the same.

        For training: gradients reach all weights, for fewer operations (see ``Pixels``).
        """
        self.lift = self.neck.lift()
        try:
            yield
        finally:
            self.lift = None

    def inference_form(self, compute: torch.dtype = torch.float32) -> InferenceForm:
        """Return a copy of the network, in parts, in the form in which it is executed fastest.

        It computes the same function with fewer operations; see ``inference_form`` and, for the
        parts, ``network_parts``.

        Args:
            compute: precision of backbone and neck.
        """
        form, dtype = exact_copy(self)
        form.lift = form.neck.take_lift()
        form.to(dtype)
        convert(form.backbone, compute)
        convert(form.neck, compute)
        return InferenceForm(form, parts(cast(Network, channels_last(form))))

    def decode_objects(
        self, features: Tensor, frames: int = 1, with_stages: bool = False
    ) -> RawObjects:
        """Find all objects of an image, or of a tube of consecutive frames.

        Args:
            features: [B * frames, 256, h, w] from ``features``, the frames of a tube in a row.
            frames: length T of a tube; queries and classes are shared by its frames and masks get
                an axis T. With frames = 1 masks have none.
            with_stages: return the prediction of every decoder stage too.
        """
        pixels = self._pixels(features, frames)
        batch = pixels.values.shape[0]
        queries = self.object_queries.expand(batch, -1, -1)
        first_masks = self._first_masks(None, batch, pixels)
        decoded = self.decoder(pixels, queries, None, with_stages, first_masks)
        return self._object_output(pixels, decoded)

    def decode_tube(self, features: Tensor) -> RawObjects:
        """Find all objects of one tube of any length T; the masks always have an axis for T.

        Args:
            features: [T, 256, h, w] from ``features``.
        """
        tube = self._checked(features).transpose(0, 1)
        pixels = Pixels(tube.flatten(1).unsqueeze(0), tuple(tube.shape[1:]), self.lift)
        queries = self.object_queries.unsqueeze(0)
        first_masks = self._first_masks(None, 1, pixels)
        return self._object_output(pixels, self.decoder(pixels, queries, None, False, first_masks))

    def name_logits(self, features: Tensor, masks: Tensor) -> Tensor:
        """Return class logits, [G, C], of the pixels in given masks, without "no object".

        For training: what the branch for names alone says, when the mask is known.

        Args:
            features: [T, 256, h, w] of an image or tube.
            masks: bool [G, T, h, w].

        Raises:
            ValueError: the network has no such branch (``names_from_pixels``).
        """
        branch = self.object_adapter.name_branch
        if branch is None:
            raise ValueError("only a network with names_from_pixels reads names from pixels")
        pixels = Pixels(features.transpose(0, 1).flatten(1)[None], (), self.lift)
        pooled = pixels.sums(masks.flatten(1).to(features.dtype)[None])
        return self.classifier(branch(pooled))[0, :, :-1]

    def decode_prompts(
        self,
        features: Tensor,
        boxes: Tensor,
        labels: Tensor | None = None,
        with_stages: bool = False,
    ) -> RawPrompts:
        """Segment what each prompt points at; prompts do not influence one another.

        Args:
            features: [B, 256, h, w] from ``features``.
            boxes: [B, K, 4] as x1, y1, x2, y2, divided by width and height of the resized image
                before padding, so that 0..1 spans the picture content. A point is a box of 6
                pixels.
            labels: [B, K] integers, or None for 1 everywhere, the only label in trained weights.
            with_stages: return the prediction of every decoder stage too.
        """
        pixels = self._pixels(features, 1)
        queries = self._prompt_queries(boxes, labels)
        first_masks = box_masks(boxes, pixels.grid) if self.anchored else None
        decoded = self.decoder(pixels, queries, 0, with_stages, first_masks)
        return self._prompt_output(pixels, decoded, num_objects=0)

    def decode(self, features: Tensor, boxes: Tensor) -> tuple[RawObjects, RawPrompts]:
        """Decode objects and prompts together, in one pass through the decoder.

        Arguments and results are those of ``decode_objects`` (one frame) and
        ``decode_prompts``; objects and prompts do not see each other, so the results are too.
        """
        pixels = self._pixels(features, 1)
        batch, num_objects = pixels.values.shape[0], self.object_queries.shape[0]
        objects = self.object_queries.expand(batch, -1, -1)
        queries = torch.cat((objects, self._prompt_queries(boxes, None)), dim=1)
        first_masks = self._first_masks(boxes, batch, pixels)
        decoded = self.decoder(pixels, queries, num_objects, False, first_masks)
        return (
            self._object_output(pixels, decoded),
            self._prompt_output(pixels, decoded, num_objects),
        )

    def forward(self, images: Tensor) -> RawObjects:
        """Return ``decode_objects(features(images))`` of images [B, 3, H, W]."""
        return self.decode_objects(self.features(images))

    def _pixels(self, features: Tensor, frames: int) -> Pixels:
        """Return the features of images, or of the frames of tubes, for queries to look at."""
        features = self._checked(features)
        grid = tuple(features.shape[-2:])
        if frames == 1:
            return Pixels(features.flatten(2), grid, self.lift)
        if frames < 1 or features.shape[0] % frames:
            raise ValueError(
                f"{features.shape[0]} feature maps do not make whole tubes of {frames} frames"
            )
        tubes = features.unflatten(0, (-1, frames)).transpose(1, 2)
        return Pixels(tubes.flatten(2), (frames, *grid), self.lift)

    def _checked(self, features: Tensor) -> Tensor:
        """Return features in the decoder's precision; ValueError for another shape."""
        channels = self.dim if self.lift is None else self.lift.shape[1]
        if features.ndim != 4 or features.shape[1] != channels:
            raise ValueError(
                f"features have shape {list(features.shape)}; "
                f"expected [batch * frames, {channels}, h, w]"
            )
        return features.to(self.object_queries.dtype)

    def _first_masks(self, boxes: Tensor | None, batch: int, pixels: Pixels) -> Tensor | None:
        """Return where the objects, and prompts behind them, are pooled first: [B, Q, L]."""
        if self.cells is None:
            return None
        cells = self.cells.to(self.object_queries.dtype).expand(batch, -1, -1)
        both = cells if boxes is None else torch.cat((cells, boxes), dim=1)
        return box_masks(both, pixels.grid)

    def _prompt_queries(self, boxes: Tensor, labels: Tensor | None) -> Tensor:
        if boxes.ndim != 3 or boxes.shape[-1] != 4:
            raise ValueError(f"boxes have shape {list(boxes.shape)}; expected [batch, prompts, 4]")
        if labels is not None and labels.shape != boxes.shape[:2]:
            raise ValueError(
                f"labels have shape {list(labels.shape)}; expected {list(boxes.shape[:2])}"
            )
        return self.prompt_encoder(boxes, labels)

    def _object_output(self, pixels: Pixels, decoded: DecoderOutput) -> RawObjects:
        queries = decoded.queries[:, : self.object_queries.shape[0]]
        adapted, embeddings = self.object_adapter(pixels, queries, decoded.object_mask_logits)
        return RawObjects(
            class_logits=self.classifier(embeddings),
            mask_logits=pixels.as_masks(pixels.inner(adapted)),
            queries=adapted,
            iou=decoded.object_iou,
            stages=self._stage_outputs(decoded, pixels),
        )

    def _prompt_output(
        self, pixels: Pixels, decoded: DecoderOutput, num_objects: int
    ) -> RawPrompts:
        adapted = self.prompt_adapter(pixels, decoded.queries[:, num_objects:])
        return RawPrompts(
            mask_logits=pixels.as_masks(pixels.inner(adapted)),
            queries=adapted,
            iou=self.prompt_adapter.iou_layer(adapted),
            stages=self._stage_outputs(decoded, pixels),
        )

    def _stage_outputs(self, decoded: DecoderOutput, pixels: Pixels) -> tuple[StageOutput, ...]:
        return tuple(
            StageOutput(
                queries=stage.queries,
                mask_logits=pixels.as_masks(stage.mask_logits),
                class_logits=self.classifier(stage.class_embeddings) / STAGE_TEMPERATURE,
                iou=stage.iou,
            )
            for stage in decoded.stages
        )
