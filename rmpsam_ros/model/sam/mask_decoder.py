"""SAM's mask decoder, with or without the fusion of high-resolution features of RWKV-SAM."""

from typing import cast

import torch
from torch import Tensor, nn

from rmpsam_ros.model.sam.layers import LayerNorm2d, Mlp
from rmpsam_ros.model.sam.two_way_transformer import TwoWayTransformer

NUM_MASK_TOKENS = 4
"""Token 0 gives the single mask, tokens 1 to 3 the three masks of an ambiguous prompt."""


class FeatureFusion(nn.Module):
    """Adds detail from the encoder's first stages to the mask features (RWKV-SAM, Eq. 7).

    The first mixing convolution sees mask features and image features side by side. It is
    evaluated in two parts, which is the same by linearity, so that the part that depends only on
    the image is computed once and not for every prompt.
    """

    def __init__(self, high_width: int, middle_width: int, mask_width: int = 32) -> None:
        super().__init__()
        self.hr_feat_proj = nn.Sequential(
            nn.Conv2d(high_width, 64, 3, padding=1),
            LayerNorm2d(64),
            nn.GELU(),
            nn.Conv2d(64, mask_width, 3, padding=1),
        )
        self.mr_feat_proj = nn.Sequential(
            nn.ConvTranspose2d(middle_width, 64, 2, stride=2),
            LayerNorm2d(64),
            nn.GELU(),
            nn.Conv2d(64, mask_width, 3, padding=1),
        )
        self.mix_feat_proj = nn.Sequential(
            nn.Conv2d(3 * mask_width, 64, 3, padding=1),
            LayerNorm2d(64),
            nn.GELU(),
            nn.Conv2d(64, mask_width, 3, padding=1),
        )

    def image_part(self, high: Tensor, middle: Tensor) -> Tensor:
        """The image's share [B, 64, H, W] of the first mixing convolution, bias included.

        Args:
            high: [B, high_width, H, W], of stride 4.
            middle: [B, middle_width, H / 2, W / 2], of stride 8.
        """
        features = torch.cat([self.mr_feat_proj(middle), self.hr_feat_proj(high)], dim=1)
        mix = cast(nn.Conv2d, self.mix_feat_proj[0])
        mask_width = mix.in_channels - features.shape[1]
        return nn.functional.conv2d(features, mix.weight[:, mask_width:], mix.bias, padding=1)

    def forward(self, mask_features: Tensor, image_part: Tensor) -> Tensor:
        """Refined mask features [K, mask_width, H, W] from [K, ...] and the image's share."""
        mix = cast(nn.Conv2d, self.mix_feat_proj[0])
        weight = mix.weight[:, : mask_features.shape[1]]
        mixed = nn.functional.conv2d(mask_features, weight, padding=1) + image_part
        return mask_features + self.mix_feat_proj[1:](mixed)


class MaskDecoder(nn.Module):
    """Turns an image embedding and prompt embeddings into mask logits and quality scores."""

    def __init__(
        self, width: int = 256, num_masks: int = 4, fusion: FeatureFusion | None = None
    ) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer(width)
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(NUM_MASK_TOKENS, width)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, 2, stride=2),
            LayerNorm2d(width // 4),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            Mlp(width, width, width, width // 8) for _ in range(num_masks)
        )
        self.iou_prediction_head = Mlp(width, width, width, NUM_MASK_TOKENS)
        self.fusion = fusion

    @property
    def num_masks(self) -> int:
        """Masks computed for a prompt: 4, or 1 for a decoder that knows no ambiguity."""
        return len(self.output_hypernetworks_mlps)

    def forward(
        self,
        image: Tensor,
        image_position: Tensor,
        prompts: Tensor,
        fusion_part: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """All masks of every prompt.

        Args:
            image: [1 or K, 256, 64, 64], dense prompt embedding already added.
            image_position: [1, 256, 64, 64].
            prompts: [K, N, 256].
            fusion_part: [1, 64, 256, 256] from `FeatureFusion.image_part`, for a decoder with
                fusion.

        Returns:
            Logits [K, num_masks, 256, 256] and the predicted IoU [K, num_masks] of each mask,
            which is not bounded to 0..1.
        """
        own_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight[: self.num_masks]])
        tokens = torch.cat([own_tokens.expand(prompts.shape[0], -1, -1), prompts], dim=1)
        tokens, cells = self.transformer(
            tokens, image.flatten(2).transpose(1, 2), image_position.flatten(2).transpose(1, 2)
        )
        cells = cells.transpose(1, 2).unflatten(2, image.shape[2:])  # [K, 256, 64, 64]
        features = self.output_upscaling(cells)  # [K, 32, 256, 256]
        if self.fusion is not None:
            if fusion_part is None:
                raise ValueError("this decoder fuses high-resolution features and got none")
            features = self.fusion(features, fusion_part)

        kernels = torch.stack(
            [mlp(tokens[:, 1 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)],
            dim=1,
        )  # [K, num_masks, 32]
        logits = (kernels @ features.flatten(2)).unflatten(2, features.shape[2:])
        return logits, self.iou_prediction_head(tokens[:, 0])[:, : self.num_masks]
