"""Devices by name, and their names for people."""

import torch

from rmpsam_ros.runtime.cpu import cpu_info
from rmpsam_ros.runtime.engine import EngineError

_ALL_THREADS = torch.get_num_threads()  # as PyTorch has them before anybody changes it


def cuda_devices() -> int:
    """Return how many CUDA devices can be used."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def resolve_device(device: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` into a device that exists.

    Raises:
        EngineError: the device is unknown, or PyTorch cannot use it on this machine.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise EngineError(
            f"device '{device}' is unknown; use auto, cpu, cuda or cuda:N"
        ) from error
    if resolved.type not in ("cpu", "cuda"):
        raise EngineError(f"device '{device}' is not supported; use auto, cpu, cuda or cuda:N")
    if resolved.type == "cpu":
        return resolved
    if not torch.cuda.is_available():
        raise EngineError(
            f"device '{device}' asked for, but this PyTorch ({torch.__version__}) sees no CUDA "
            "device; use device auto or cpu, or install PyTorch with CUDA"
        )
    if (resolved.index or 0) >= torch.cuda.device_count():
        raise EngineError(
            f"device '{device}' asked for, but there are {torch.cuda.device_count()} CUDA devices"
        )
    return torch.device("cuda", resolved.index or 0)


def use_threads(count: int) -> None:
    """Let PyTorch compute with so many threads of a CPU from now on; 0: as many as it began with.

    The number is the whole process's: who shares it with others sets it before every computation,
    because sums of floats differ with it.
    """
    wanted = count or _ALL_THREADS
    if torch.get_num_threads() != wanted:
        torch.set_num_threads(wanted)


def device_description(device: torch.device) -> str:
    """Name a device as a person would: the GPU's own name, or the CPU with its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, {cpu_info()[0]} ({torch.get_num_threads()} threads)"
