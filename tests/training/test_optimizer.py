"""Schedule, parameter groups, clipping and the moving average."""

import pytest
import torch
from torch import nn

from rmpsam_ros.training.optimizer import (
    OptimizerConfig,
    WeightAverage,
    build_optimizer,
    gradient_norm,
    learning_rate,
    set_learning_rate,
)


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Conv2d(3, 4, 1)
        self.head = nn.Linear(4, 2)
        self.norm = nn.LayerNorm(2)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 1e-4 * 0.001),
        (250, 1e-4 * (0.001 + 0.999 * 0.5)),
        (500, 1e-4),
        (7999, 1e-4),
        (8000, 1e-5),
        (10999, 1e-5),
        (11000, 1e-6),
    ],
)
def test_step_schedule_is_that_of_the_reference(step, expected):
    assert learning_rate(step, 12000, OptimizerConfig()) == pytest.approx(expected)


def test_cosine_schedule_ends_at_one_percent():
    config = OptimizerConfig(schedule="cosine", warmup_steps=0)
    rates = [learning_rate(step, 100, config) for step in range(101)]
    assert rates[0] == pytest.approx(1e-4)
    assert rates[50] == pytest.approx(1e-4 * 0.505)
    assert rates[100] == pytest.approx(1e-6)
    assert rates == sorted(rates, reverse=True)


def test_unknown_schedule():
    with pytest.raises(ValueError, match="'linear'"):
        OptimizerConfig(schedule="linear")


def test_layers_of_class_embeddings_have_a_factor_of_their_own():
    model = nn.ModuleDict(
        {
            "backbone": nn.Linear(2, 2),
            "decoder": nn.ModuleDict({"class_branch": nn.Linear(2, 2), "ffn": nn.Linear(2, 2)}),
            "object_adapter": nn.ModuleDict(
                {"class_layer": nn.Linear(2, 2), "name_branch": nn.LayerNorm(2)}
            ),
        }
    )
    optimizer = build_optimizer(model, OptimizerConfig(class_factor=0.25))
    set_learning_rate(optimizer, 1.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates = {
        names[id(parameter)].removesuffix(".weight"): (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
        if names[id(parameter)].endswith(".weight")
    }
    assert rates == {
        "backbone": (0.1, 0.05),
        "decoder.ffn": (1.0, 0.05),
        "decoder.class_branch": (0.25, 0.05),
        "object_adapter.class_layer": (0.25, 0.05),
        "object_adapter.name_branch": (0.25, 0.0),
    }


def test_parameter_groups():
    model = Toy()
    optimizer = build_optimizer(model, OptimizerConfig())
    set_learning_rate(optimizer, 1.0)
    found = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert found[id(model.backbone.weight)] == (0.1, 0.05)
    assert found[id(model.head.weight)] == (1.0, 0.05)
    assert found[id(model.norm.weight)] == (1.0, 0.0)
    assert id(model.frozen.weight) not in found


def test_clipping_returns_the_norm_before():
    model = nn.Linear(1, 1, bias=False)
    model.weight.grad = torch.tensor([[3.0]])
    assert float(gradient_norm(model, 0.01)) == pytest.approx(3.0)
    assert model.weight.grad.item() == pytest.approx(0.01, rel=1e-3)


def test_average_by_hand():
    model = nn.Linear(1, 1, bias=False)
    average = WeightAverage(model, decay=0.9)
    expected = 0.0
    for count, weight in enumerate([2.0, 1.0, 5.0, -1.0]):
        model.weight.data.fill_(weight)
        average.update(model)
        share = min(0.9, (1 + count) / (10 + count)) if count else 0.0  # the first is the average
        expected = share * expected + (1 - share) * weight
        assert average.model.weight.item() == pytest.approx(expected)
        assert model.weight.item() == weight


def test_an_old_average_goes_on_slowly():
    model = nn.Linear(1, 1, bias=False)
    average = WeightAverage(model, decay=0.9)
    average.restore({"weight": torch.zeros(1, 1)}, step=10_000)
    model.weight.data.fill_(1.0)
    average.update(model)
    assert average.tensors["weight"].item() == pytest.approx(0.1)


def test_statistics_are_averaged_and_counts_taken_over():
    model = nn.BatchNorm1d(2)
    average = WeightAverage(model, decay=0.5)
    average.restore(average.tensors, step=1000)
    model(torch.full((4, 2), 10.0))
    average.update(model)
    assert average.tensors["running_mean"].tolist() == pytest.approx([0.5, 0.5])
    assert average.tensors["num_batches_tracked"] == 1


def test_frozen_weights_are_not_kept():
    assert "frozen.weight" not in WeightAverage(Toy(), 0.9).tensors
