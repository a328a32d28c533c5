"""The features of all pixels, and the only two things that queries do with them."""

from __future__ import annotations

from torch import Tensor


class Pixels:
    """Features F, [B, d, L], of the L pixels of an image or of all frames of a tube.

    values: [B, c, L]. lift: None, and the values are the features; or [d, c], and F is the
    product of lift and values, which is never computed: whatever queries ask of F is linear in
    it, so that the lift can be applied to few queries instead of many pixels.
    grid: (h, w) of the mask, or (T, h, w); their product is L.
    """

    def __init__(self, values: Tensor, grid: tuple[int, ...], lift: Tensor | None = None) -> None:
        self.values = values
        self.grid = grid
        self.lift = lift

    def inner(self, queries: Tensor) -> Tensor:
        """Return the inner products, [B, Q, L], of queries [B, Q, d] with all features."""
        kernels = queries if self.lift is None else queries @ self.lift
        return kernels @ self.values

    def sums(self, weights: Tensor) -> Tensor:
        """Return the weighted sums of all features, [B, Q, d], with weights [B, Q, L]."""
        sums = weights @ self.values.transpose(1, 2)
        return sums if self.lift is None else sums @ self.lift.transpose(0, 1)

    def as_masks(self, flat: Tensor) -> Tensor:
        """Bring [B, Q, L] into the shape of masks, [B, Q, h, w] or [B, Q, T, h, w]."""
        return flat.unflatten(-1, self.grid)
