"""The promptable model: an image is encoded once, then every click costs the decoder only."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from rmpsam_ros.model.inference_form import InferenceForm
from rmpsam_ros.model.sam.inference_form import inference_form
from rmpsam_ros.model.sam.mask_decoder import MaskDecoder
from rmpsam_ros.model.sam.prompt_encoder import PromptEncoder, join_prompts

IMAGE_SIZE = 1024
"""Side of the square frame that the encoders see, in pixels."""

MASK_SIZE = 256
"""Side of the low-resolution masks, in pixels."""

MAX_PROMPTS = 320
"""Prompts accepted in one call."""

PROMPTS_AT_ONCE = 8
"""Prompts decoded together; more would need gigabytes of memory and cost time on a CPU."""


class ImageEmbedding(NamedTuple):
    """Encoder output of one or more images, for the decoder; keep it, and clicks are cheap.

    Attributes:
        features: [B, 256, 64, 64].
        high_res: [B, 64, 256, 256], only of models that fuse high-resolution features.
    """

    features: Tensor
    high_res: Tensor | None = None

    def select(self, index: int) -> "ImageEmbedding":
        """The embedding of one image of the batch, still with a batch axis, of length 1."""
        high_res = None if self.high_res is None else self.high_res[index : index + 1]
        return ImageEmbedding(self.features[index : index + 1], high_res)


class PromptModel(nn.Module):
    """Image encoder, prompt encoder and mask decoder of one member of the SAM family."""

    def __init__(
        self, image_encoder: nn.Module, prompt_encoder: PromptEncoder, mask_decoder: MaskDecoder
    ) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder

    @property
    def supports_multimask(self) -> bool:
        """Whether the decoder offers three masks for an ambiguous prompt."""
        return self.mask_decoder.num_masks > 1

    def encode(self, images: Tensor) -> ImageEmbedding:
        """Embed images [B, 3, 1024, 1024], float, normalised and padded as `transforms` does.

        Raises:
            ValueError: another shape.
        """
        if images.ndim != 4 or images.shape[1:] != (3, IMAGE_SIZE, IMAGE_SIZE):
            raise ValueError(
                f"images are [B, 3, {IMAGE_SIZE}, {IMAGE_SIZE}], got {list(images.shape)}; "
                "use transforms.preprocess"
            )
        # Convolutions on a CPU take half the time with channels next to each other in memory.
        images = images.contiguous(memory_format=torch.channels_last)
        if self.mask_decoder.fusion is None:
            return ImageEmbedding(self.image_encoder(images))
        features, high, middle = self.image_encoder(images)
        return ImageEmbedding(features, self.mask_decoder.fusion.image_part(high, middle))

    def inference_form(self, compute: torch.dtype = torch.float32) -> InferenceForm:
        """A copy of the model in two parts, in the form in which it is executed fastest.

        It computes the same function with fewer operations; see `sam.inference_form`. `compute`
        is the precision of the image encoder.
        """
        return inference_form(self, compute)

    def decode(
        self,
        embedding: ImageEmbedding,
        points: Tensor | None,
        labels: Tensor | None,
        boxes: Tensor | None = None,
        mask_input: Tensor | None = None,
        multimask: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Masks of K prompts on one image.

        Positions are pixels of the 1024 x 1024 frame.

        Args:
            embedding: of one image, from `encode`.
            points: [K, P, 2] as x, y, or None.
            labels: [K, P], 1 foreground, 0 background, -1 padding, or None.
            boxes: [K, 4] as x0, y0, x1, y1, or None.
            mask_input: [K, 1, 256, 256], logits of an earlier round, or None.
            multimask: three masks per prompt, for prompts that may mean several things.

        Returns:
            Low-resolution logits [K, M, 256, 256] (object where positive) and predicted IoU [K,
            M]; M is 1, or 3 with `multimask`.

        Raises:
            ValueError: other shapes or labels, more than 320 prompts, an embedding of several
                images, or `multimask` where the model has one mask only.
        """
        if len(embedding.features) != 1:
            raise ValueError(
                f"prompts belong to one image, got an embedding of {len(embedding.features)}; "
                "use embedding.select(index)"
            )
        points, labels = checked_prompts(
            points, labels, boxes, mask_input, multimask, self.supports_multimask
        )
        image_position = self.prompt_encoder.image_position()
        logits, iou = [], []
        for start in range(0, len(points), PROMPTS_AT_ONCE):
            part = slice(start, start + PROMPTS_AT_ONCE)
            dense = (
                self.prompt_encoder.without_mask()
                if mask_input is None
                else self.prompt_encoder.embed_masks(mask_input[part])
            )
            all_logits, all_iou = self.mask_decoder(
                embedding.features + dense,
                image_position,
                self.prompt_encoder(points[part], labels[part]),
                embedding.high_res,
            )
            chosen = slice(1, None) if multimask else slice(0, 1)
            logits.append(all_logits[:, chosen])
            iou.append(all_iou[:, chosen])
        return torch.cat(logits), torch.cat(iou)


def checked_prompts(
    points: Tensor | None,
    labels: Tensor | None,
    boxes: Tensor | None,
    mask_input: Tensor | None,
    multimask: bool,
    supports_multimask: bool,
) -> tuple[Tensor, Tensor]:
    """Check the prompts of `PromptModel.decode`, which says what they are, and join them.

    Returns:
        Points [K, N, 2] and labels [K, N] as `join_prompts` does, and raises ValueError.
    """
    if multimask and not supports_multimask:
        raise ValueError("this model gives one mask for a prompt: call it without multimask")
    points, labels = join_prompts(points, labels, boxes)
    if not 0 < len(points) <= MAX_PROMPTS:
        raise ValueError(f"1 to {MAX_PROMPTS} prompts in one call, got {len(points)}")
    if mask_input is not None and mask_input.shape != (len(points), 1, MASK_SIZE, MASK_SIZE):
        raise ValueError(
            f"mask_input is [{len(points)}, 1, {MASK_SIZE}, {MASK_SIZE}] for "
            f"{len(points)} prompts, got {list(mask_input.shape)}"
        )
    return points, labels
