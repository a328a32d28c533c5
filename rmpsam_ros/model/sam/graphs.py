"""The two halves of a promptable model as plain tensor functions, for export."""

from torch import Tensor, nn

from rmpsam_ros.model.sam.prompt_model import ImageEmbedding, PromptModel


class EncoderGraph(nn.Module):
    """Images [B, 3, 1024, 1024] to the tensors of an `ImageEmbedding`, in its order."""

    def __init__(self, model: PromptModel) -> None:
        super().__init__()
        self.model = model

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs; the second only for models that fuse high-resolution features."""
        names = list(ImageEmbedding._fields)
        return names if self.model.mask_decoder.fusion is not None else names[:1]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map images [B, 3, 1024, 1024] to the tensors named by `output_names`."""
        return tuple(tensor for tensor in self.model.encode(images) if tensor is not None)


class DecoderGraph(nn.Module):
    """Prompts on one image to all masks of the decoder, chosen from afterwards.

    Inputs `points` [K, N, 2] and `labels` [K, N] as `join_prompts` gives them; `mask_input`
    [K, 1, 256, 256], which counts where `has_mask` [K] is 1 and not where it is 0; `features`
    [1, 256, 64, 64]; `high_res` [1, 64, 256, 256] for models that have it. Outputs logits
    [K, M, 256, 256] and IoU [K, M]: the single mask, then, where the model has them, the three of
    an ambiguous prompt.
    """

    output_names = ("logits", "iou")

    def __init__(self, model: PromptModel) -> None:
        super().__init__()
        self.model = model

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs, in their order."""
        names = ["points", "labels", "mask_input", "has_mask", "features"]
        return [*names, "high_res"] if self.model.mask_decoder.fusion is not None else names

    def forward(
        self,
        points: Tensor,
        labels: Tensor,
        mask_input: Tensor,
        has_mask: Tensor,
        features: Tensor,
        high_res: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Decode prompts; shapes as the class says: logits [K, M, 256, 256] and IoU [K, M]."""
        prompts = self.model.prompt_encoder
        share = has_mask.reshape(-1, 1, 1, 1)
        dense = share * prompts.embed_masks(mask_input) + (1 - share) * prompts.without_mask()
        logits, iou = self.model.mask_decoder(
            features + dense, prompts.image_position(), prompts(points, labels), high_res
        )
        return logits, iou
