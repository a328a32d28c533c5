"""Open-vocabulary classifier on the unit sphere of text embeddings.

Source: docs/reference/rmpsam.md, section 5.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LOGIT_SCALE = math.exp(4.605199813842773)
"""Factor from cosine to logit, about 100; the exponent is 4.6052 as a float32 constant."""

STAGE_TEMPERATURE = 0.1
"""Logits of decoder stages, not of the adapter, are divided by this."""


class TextClassifier(nn.Module):
    """Cosine to the closest synonym of every class; "no object" has the constant logit 0.

    The table of text embeddings is data, not a weight: it is in no checkpoint and can be
    exchanged at any time.
    """

    text_embeddings: Tensor
    rows: Tensor
    places: Tensor

    # Buffers of any length: exported graphs are the same (`rmpsam_ros.export.templates`).
    free_lengths = ("text_embeddings", "rows", "places")

    def __init__(self, text_dim: int) -> None:
        super().__init__()
        self.text_dim = text_dim
        empty = torch.zeros(0, 1, text_dim)
        self.register_buffer("text_embeddings", empty, persistent=False)
        self.register_buffer("rows", empty[:, 0], persistent=False)
        self.register_buffer("places", torch.zeros(0, 1, dtype=torch.int64), persistent=False)

    @property
    def num_classes(self) -> int:
        """Number of classes C of the class table, without "no object"."""
        return self.text_embeddings.shape[0]

    def set_text_embeddings(self, text_embeddings: Tensor) -> None:
        """Exchange the class table; see ``RmpSam.set_text_embeddings``."""
        table = text_embeddings.detach()
        if table.ndim != 3 or table.shape[1] == 0 or table.shape[2] != self.text_dim:
            raise ValueError(
                f"text embeddings have shape {list(table.shape)}; expected "
                f"[classes, synonyms, {self.text_dim}] with at least one synonym"
            )
        norms = table.double().norm(dim=-1)
        # Written so that NaN fails too; half precision files are off by some 1e-4.
        if not bool(((norms - 1).abs() < 1e-2).all()):
            raise ValueError(
                "text embeddings must be unit vectors; their norms range from "
                f"{norms.min():.4g} to {norms.max():.4g}. Normalise each vector, and pad "
                "missing synonyms with copies of the first one, not with zeros"
            )
        self.text_embeddings = table.to(self.text_embeddings)
        # Missing synonyms are copies of the first: only different rows are multiplied.
        rows, places = self.text_embeddings.flatten(0, 1).unique(dim=0, return_inverse=True)
        self.rows, self.places = rows, places.reshape(table.shape[:2])

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return class logits, [B, Q, C + 1], of embeddings [B, Q, text_dim]."""
        cosines = F.normalize(embeddings, dim=-1) @ self.rows.transpose(0, 1)
        # [C, P, B, Q]: written so that exported graphs are the same for any number of classes.
        of_synonyms = cosines.permute(2, 0, 1)[self.places]
        cosines = of_synonyms.amax(dim=1).permute(1, 2, 0)
        return F.pad(LOGIT_SCALE * cosines, (0, 1))
