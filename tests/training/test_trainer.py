"""The loop: one step by the formulas, exact resume, failures, and learning pictures by heart."""

import dataclasses
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

from rmpsam_ros.cli import train as commands
from rmpsam_ros.cli.errors import CommandError
from rmpsam_ros.cli.main import build_parser
from rmpsam_ros.data import open_dataset
from rmpsam_ros.evaluation.raw import RawNetwork
from rmpsam_ros.evaluation.tasks import evaluate_images, load_samples
from rmpsam_ros.model import build_model
from rmpsam_ros.segmentation.labels import load_label_set
from rmpsam_ros.segmentation.panoptic import FusionConfig
from rmpsam_ros.training import trainer as trainer_module
from rmpsam_ros.training.distributed import Process
from rmpsam_ros.training.losses import object_losses, prompt_losses
from rmpsam_ros.training.network import build_network, make_class_table
from rmpsam_ros.training.optimizer import learning_rate
from rmpsam_ros.training.state import (
    BEST,
    LAST,
    ResumeError,
    export_weights,
    import_weights,
    load_exported,
)
from rmpsam_ros.training.trainer import LOG, Trainer, TrainingError

CPU = Process(0, 1, torch.device("cpu"))


long_test = pytest.mark.skipif(
    "RMPSAM_LONG_TESTS" not in os.environ, reason="takes minutes; set RMPSAM_LONG_TESTS to run"
)


def states_equal(first, second):
    one, two = first.network.state_dict(), second.network.state_dict()
    return all(torch.equal(one[key], two[key]) for key in one)


def test_one_step_follows_the_formulas(toys, tmp_path):
    """The step again by hand: losses, clipping, AdamW with decoupled decay."""
    config = toys(optimizer={"warmup_steps": 0, "weight_decay": 0.05})
    trainer = Trainer(config, tmp_path / "run", CPU)
    network = build_network("rmpsam_r18", make_class_table(3, 0))
    network.load_state_dict(trainer.network.state_dict())
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    batch = trainer.batches(0)
    logged = trainer.train_step([batch])

    generator = torch.Generator().manual_seed(0)
    features = network.features(batch.images)
    if batch.kind == "prompt":
        output = network.decode_prompts(features, batch.boxes, with_stages=True)
        losses = prompt_losses(output, batch.masks, batch.known, config.losses, generator)
    else:
        output = network.decode_objects(features, batch.frames, with_stages=True)
        count = torch.tensor(float(len(batch.targets[0].classes)))
        things = torch.tensor([True, True, False])
        losses = object_losses(output, batch.targets, things, config.losses, generator, count)
    torch.stack(list(losses.values())).sum().backward()
    for name, value in losses.items():
        assert logged[f"{batch.kind}/{name}"] == pytest.approx(value.item(), rel=1e-5)
    gradients = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    norm = torch.stack([g.norm() for g in gradients.values()]).norm()
    assert logged["gradient_norm"] == pytest.approx(norm.item(), rel=1e-4)
    after = dict(trainer.network.named_parameters())
    for name in ("object_queries", "neck.output_conv.weight", "prompt_adapter.norm.bias"):
        rate = learning_rate(0, 4, config.optimizer)
        decay = 0.0 if "norm" in name else 0.05
        expected = before[name] * (1 - rate * decay)
        if name in gradients:
            gradient = gradients[name] * (0.01 / norm)
            expected = expected - rate * gradient / (gradient.abs() + 1e-8)
        else:
            expected = before[name]
        assert torch.allclose(after[name], expected, atol=2e-6), name


def test_resumed_run_is_the_uninterrupted_one(toys, tmp_path):
    config = toys()
    whole = Trainer(config, tmp_path / "whole", CPU)
    whole.run()
    half = dataclasses.replace(config.loop, checkpoint_interval=2)
    first = Trainer(dataclasses.replace(config, loop=half), tmp_path / "parts", CPU)
    first.train_step([first.batches(0)])
    first.train_step([first.batches(1)])
    first.save()
    second = Trainer(config, tmp_path / "parts", CPU)
    assert second.step == 2
    second.run()
    assert second.step == 4
    assert states_equal(whole, second)
    for name, tensor in whole.average.tensors.items():
        assert torch.equal(tensor, second.average.tensors[name])


def test_what_a_run_leaves_behind(toys, tmp_path):
    config = toys()
    Trainer(config, tmp_path / "run", CPU).run()
    lines = [json.loads(line) for line in (tmp_path / "run" / LOG).read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert all(line["learning_rate"] > 0 and "gradient_norm" in line for line in lines)
    network, label_set = load_exported(tmp_path / "run" / BEST)
    assert label_set == load_label_set(tmp_path / "toys.yaml")
    assert network.classifier.num_classes == 3
    assert not network.training


def test_train_command_with_pictures_and_events(toys, tmp_path, monkeypatch):
    toys(loop={"steps": 2, "preview_interval": 2})
    parser = build_parser()
    run = tmp_path / "run"
    options = parser.parse_args(
        ["train", str(tmp_path / "config.yaml"), "--out", str(run), "--device", "cpu"]
    )
    monkeypatch.setattr(commands, "_PREVIEW_LIMITS", (64, 64))
    options.run(options)
    picture = cv2.imread(str(run / "preview_0000002.jpg"))
    assert picture.shape == (360, 2 * 480, 3)
    assert picture.std() > 10
    assert (run / BEST).exists()
    again = ["train", str(tmp_path / "config.yaml"), "--out", str(tmp_path / "again")]
    with pytest.raises(CommandError, match="no checkpoint file at"):
        options = parser.parse_args([*again, "--start-from", str(tmp_path / "none.safetensors")])
        options.run(options)


def test_background_workers_change_nothing(toys, tmp_path):
    config = toys(loop={"steps": 2})
    threaded = dataclasses.replace(config, loop=dataclasses.replace(config.loop, workers=1))
    one, two = Trainer(config, tmp_path / "a", CPU), Trainer(threaded, tmp_path / "b", CPU)
    one.run()
    two.run()
    assert states_equal(one, two)


def test_accumulated_batches(toys, tmp_path):
    config = toys(loop={"accumulate": 2, "steps": 1, "checkpoint_interval": 0})
    trainer = Trainer(config, tmp_path / "run", CPU)
    trainer.run()
    assert trainer.step == 1


def test_bfloat16_step(toys, tmp_path):
    config = toys(loop={"precision": "bfloat16", "steps": 2})
    trainer = Trainer(config, tmp_path / "run", CPU)
    trainer.run()
    assert all(torch.isfinite(t).all() for t in trainer.network.state_dict().values())


def test_classes_are_told_apart_in_float32(toys, tmp_path):
    """In bfloat16 a cosine of 0.7 has steps of 0.004, which is 4 in a stage's logit."""
    network = Trainer(toys(), tmp_path / "run", CPU).network
    embeddings = torch.randn(1, 50, 768, generator=torch.Generator().manual_seed(0))
    exact = network.classifier(embeddings)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network.classifier(embeddings), exact)


def test_loss_that_is_not_finite_stops_the_run(toys, tmp_path, monkeypatch):
    trainer = Trainer(toys(), tmp_path / "run", CPU)

    def broken(*arguments):
        return {"mask": torch.tensor(float("nan"))}

    monkeypatch.setattr(trainer_module, "object_losses", broken)
    monkeypatch.setattr(trainer_module, "prompt_losses", broken)
    with pytest.raises(TrainingError, match="step 0: the loss is nan"):
        trainer.run()
    assert not (tmp_path / "run" / LAST).exists()


def test_folder_of_another_network_is_refused(toys, tmp_path):
    config = toys()
    trainer = Trainer(config, tmp_path / "run", CPU)
    trainer.save()
    other = dataclasses.replace(config, network="rmpsam_r50")
    with pytest.raises(ResumeError, match="another network"):
        Trainer(other, tmp_path / "run", CPU)
    (tmp_path / "run" / LAST).write_bytes(b"broken")
    with pytest.raises(ResumeError, match="cannot be resumed"):
        Trainer(config, tmp_path / "run", CPU)


def test_exported_weights_round_trip(tmp_path, label_set):
    network = build_model("rmpsam_r18", make_class_table(3, 1))
    path = tmp_path / "weights.safetensors"
    export_weights(path, network, "rmpsam_r18", label_set, {"step": "9"})
    loaded, labels = load_exported(path)
    assert labels == label_set
    own, theirs = network.state_dict(), loaded.state_dict()
    for key in own:
        assert torch.allclose(own[key].float(), theirs[key].float(), rtol=1e-3, atol=1e-6), key
    with pytest.raises(ResumeError, match="does not fit"):
        import_weights(path, build_model("rmpsam_r50"))
    (tmp_path / "text.safetensors").write_text("nothing")
    with pytest.raises(ResumeError, match="not a readable"):
        import_weights(tmp_path / "text.safetensors", network)


def test_start_from_weights(toys, tmp_path):
    config = toys()
    first = Trainer(config, tmp_path / "first", CPU)
    first.run()
    later = dataclasses.replace(config, start_from=tmp_path / "first" / BEST)
    second = Trainer(later, tmp_path / "second", CPU)
    average = first.average.tensors["object_queries"]
    assert torch.allclose(second.network.object_queries, average, rtol=1e-3)
    assert second.step == 0


def test_only_a_part_is_trained(toys, tmp_path):
    part = "object_adapter.class_layer"
    config = toys(
        optimizer={"only": part, "warmup_steps": 0, "learning_rate": 0.1},
        batches={"kinds": {"panoptic": 1.0, "clip": 1.0}},
    )
    trainer = Trainer(config, tmp_path / "run", CPU)
    before = {key: value.clone() for key, value in trainer.network.state_dict().items()}
    trainer.run()
    after = trainer.network.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {f"{part}.weight", f"{part}.bias"}


def test_frozen_parts_stay_as_they_are(toys, tmp_path):
    frozen = ("backbone.layer1.", "neck.output_conv")
    config = toys(optimizer={"frozen": list(frozen), "warmup_steps": 0, "learning_rate": 0.1})
    trainer = Trainer(config, tmp_path / "run", CPU)
    before = {key: value.clone() for key, value in trainer.network.named_parameters()}
    trainer.run()
    after = dict(trainer.network.named_parameters())
    same = {key for key in before if torch.equal(before[key], after[key])}
    assert {key for key in before if key.startswith(frozen)} <= same
    assert "backbone.layer2.0.conv1.weight" not in same
    assert Trainer(config, tmp_path / "run", CPU).step == 4


def test_a_kind_that_reaches_no_trained_weight_is_named(toys, tmp_path):
    config = toys(optimizer={"only": "object_adapter"}, batches={"kinds": {"prompt": 1.0}})
    with pytest.raises(TrainingError, match=r"prompt batch reaches no weight.*kinds\.prompt to 0"):
        Trainer(config, tmp_path / "run", CPU).run()


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"optimizer": {"only": "tail"}}, "optimizer.only is 'tail'; no weight"),
        ({"optimizer": {"frozen": ["neck.", "tail"]}}, "optimizer.frozen is 'tail'; no weight"),
        ({"losses": {"general_class": "floor"}}, "general_class is 'floor'; use a thing"),
    ],
)
def test_parts_and_classes_that_do_not_exist(toys, tmp_path, sections, message):
    with pytest.raises(ValueError, match=message):
        Trainer(toys(**sections), tmp_path / "run", CPU)


def test_class_table():
    table = make_class_table(30, seed=4)
    assert table.shape == (30, 1, 768)
    cosines = table[:, 0] @ table[:, 0].T
    assert torch.allclose(cosines.diagonal(), torch.ones(30), atol=1e-5)
    assert cosines[0, 1:].tolist() == pytest.approx([0.75] * 29, abs=1e-5)
    assert torch.equal(table, make_class_table(30, seed=4))
    assert not torch.equal(table, make_class_table(30, seed=5))


WORKER = """
import sys
from pathlib import Path
import torch
from rmpsam_ros.training import distributed
from rmpsam_ros.training.config import load_config
from rmpsam_ros.training.trainer import Trainer
process = distributed.start("cpu")
trainer = Trainer(load_config(Path(sys.argv[1])), Path(sys.argv[2]), process)
trainer.run()
weights = [p.detach() for p in trainer.network.parameters()]
torch.save(weights, f"{sys.argv[2]}/rank{process.rank}.pt")
distributed.stop()
"""


@long_test
def test_two_processes_keep_the_same_weights(toys, tmp_path):
    toys(loop={"steps": 2})
    (tmp_path / "worker.py").write_text(WORKER)
    run = tmp_path / "run"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nproc-per-node",
            "2",
            "--master-port",
            "29611",
            str(tmp_path / "worker.py"),
            str(tmp_path / "config.yaml"),
            str(run),
        ],
        check=True,
        timeout=300,
    )
    one, two = (torch.load(run / f"rank{rank}.pt", weights_only=True) for rank in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert json.loads((run / LOG).read_text().splitlines()[-1])["step"] == 2


def overfit(toys, tmp_path, steps, crop):
    """Train on four pictures and return their panoptic figures."""
    config = toys(
        count=4,
        batches={"batch_size": 4, "kinds": {"panoptic": 1}},
        augment={"height": crop, "width": crop, "scale": [1.0, 1.0], "flip": 0.0},
        losses={"num_points": 1024},
        optimizer={
            "learning_rate": 3e-4,
            "warmup_steps": 20,
            "backbone_factor": 1.0,
            "schedule": "cosine",
            "ema_decay": 0.95,
            "clip_norm": 0.1,
        },
        loop={"steps": steps, "checkpoint_interval": 0, "threads": 1},
    )
    trainer = Trainer(config, tmp_path / "run", CPU)
    trainer.run()
    network, label_set = load_exported(tmp_path / "run" / BEST)
    fusion = FusionConfig(0.5, 0.5)
    predictor = RawNetwork(network, label_set, (crop, crop), CPU.device, fusion)
    data = open_dataset(config.evaluation[0].dataset)
    figures = evaluate_images(predictor, load_samples(data), ["panoptic"])
    return figures["panoptic"]["all"]["pq"], trainer


@long_test
def test_a_few_pictures_are_learnt_by_heart(toys, tmp_path):
    quality, _ = overfit(toys, tmp_path, steps=250, crop=96)
    assert quality > 95


def test_the_loss_falls_quickly(toys, tmp_path):
    """The short form of learning by heart."""
    config = toys(
        count=1,
        batches={"batch_size": 2, "kinds": {"panoptic": 1}},
        augment={"scale": [1.0, 1.0], "flip": 0.0},
        optimizer={
            "learning_rate": 3e-4,
            "warmup_steps": 5,
            "backbone_factor": 1.0,
            "clip_norm": 0.1,
        },
        loop={"steps": 1000, "threads": 1},
    )
    trainer = Trainer(config, tmp_path / "run", CPU)
    losses = []
    for step in range(60):
        values = trainer.train_step([trainer.batches(step)])
        losses.append(values["panoptic/mask"] + values["panoptic/dice"])
    assert np.mean(losses[-5:]) < 0.75 * np.mean(losses[:5])
