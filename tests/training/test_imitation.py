"""A network that learns the feature map of another one."""

import dataclasses

import pytest
import torch

from rmpsam_ros.training.distributed import Process
from rmpsam_ros.training.imitation import feature_loss
from rmpsam_ros.training.network import build_network, make_class_table
from rmpsam_ros.training.state import BEST, ResumeError, export_weights
from rmpsam_ros.training.trainer import Trainer

CPU = Process(0, 1, torch.device("cpu"))


@pytest.fixture
def teacher(tmp_path, label_set):
    """Write weights of a network with the class table of the toys; returns network and file."""

    def make(name="rmpsam_r18", table_seed=0):
        torch.manual_seed(5)
        network = build_network(name, make_class_table(3, table_seed))
        path = tmp_path / "teacher.safetensors"
        export_weights(path, network, name, label_set, {})
        return network, path

    return make


def test_the_loss_counts_every_channel_by_its_variance():
    torch.manual_seed(0)
    expected = torch.randn(2, 3, 8, 8) * torch.tensor([0.1, 1.0, 30.0])[:, None, None]
    variance = expected.var((0, 2, 3))
    assert feature_loss(expected, expected) == 0
    mean = expected.mean((0, 2, 3), keepdim=True).expand_as(expected)
    assert feature_loss(mean, expected).item() == pytest.approx(1.0, rel=0.01)
    for channel, shift in enumerate((0.2, 2.0, 60.0)):
        off = expected.clone()
        off[:, channel] += shift
        share = shift**2 / variance[channel].item() / 3
        assert feature_loss(off, expected).item() == pytest.approx(share, rel=1e-3)


def test_the_decoder_is_taken_over_and_the_features_are_learned(toys, tmp_path, teacher):
    network, path = teacher()
    config = dataclasses.replace(
        toys(
            batches={"kinds": {"panoptic": 1.0}},
            optimizer={"learning_rate": 1e-3, "clip_norm": 1.0, "warmup_steps": 0},
        ),
        imitate=path,
    )
    trainer = Trainer(config, tmp_path / "run", CPU)
    before = {key: value.clone() for key, value in trainer.network.state_dict().items()}
    for key, value in network.state_dict().items():
        same = torch.allclose(before[key], value, rtol=1e-2, atol=1e-3)
        assert same or key.startswith(("backbone.", "neck."))
    batch = trainer.batches(0)
    losses = [trainer.train_step([batch])["panoptic/features"] for _ in range(6)]
    assert losses[-1] < losses[0]
    after = trainer.network.state_dict()
    changed = {key.split(".")[0] for key in before if not torch.equal(before[key], after[key])}
    assert changed == {"backbone", "neck"}
    trainer.save()
    assert (tmp_path / "run" / BEST).exists()
    assert Trainer(config, tmp_path / "run", CPU).step == 6


@pytest.mark.parametrize(
    ("arguments", "network", "message"),
    [
        ({"table_seed": 1}, "rmpsam_r18", "class table differs"),
        ({}, "rmpsam_lite", "its decoder differs: object_adapter.name_branch"),
    ],
)
def test_a_teacher_that_does_not_fit(toys, tmp_path, teacher, arguments, network, message):
    _, path = teacher(**arguments)
    config = dataclasses.replace(toys(), imitate=path, network=network)
    with pytest.raises(ResumeError, match=message):
        Trainer(config, tmp_path / "run", CPU)
    with pytest.raises(ResumeError, match="no checkpoint file at"):
        missing = dataclasses.replace(config, imitate=tmp_path / "none.safetensors")
        Trainer(missing, tmp_path / "run", CPU)
