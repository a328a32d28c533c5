"""Which devices there are."""

import torch


def cuda_devices() -> int:
    """Return how many CUDA devices can be used."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0
