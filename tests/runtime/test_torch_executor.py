"""PyTorch's executor beside others in one process."""

import pytest
import torch
from torch import nn

from rmpsam_ros.runtime.devices import use_threads
from rmpsam_ros.runtime.executors.torch_executor import TorchExecutor


class Threads(nn.Module):
    """A part of a network that tells how many threads it is computed with."""

    input_names, output_names = ("image",), ("threads",)

    def forward(self, image):
        return (image.new_tensor(torch.get_num_threads()),)


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_each_network_has_its_own_number_of_threads():
    image, all_ = {"image": torch.zeros(1, 3, 8, 8)}, torch.get_num_threads()
    executors = [TorchExecutor({"frame": Threads()}, torch.device("cpu"), n) for n in (1, 3, 0)]
    for executor, expected in 2 * list(zip(executors, (1, 3, all_), strict=True)):
        assert executor.run("frame", image)["threads"] == expected


def test_automatic_means_all_again_after_others_had_fewer():
    all_ = torch.get_num_threads()
    use_threads(all_ + 2)
    use_threads(0)
    assert torch.get_num_threads() == all_
