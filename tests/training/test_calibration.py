"""Scores fitted to masks: what is wanted of a query, the loss, and the command."""

import math

import numpy as np
import pytest
import torch

from rmpsam_ros.cli.main import main
from rmpsam_ros.data.samples import UNNAMED
from rmpsam_ros.training.calibration import (
    CalibrationConfig,
    QuerySamples,
    _wanted,
    calibrate,
    calibration_loss,
    query_samples,
)
from rmpsam_ros.training.network import build_network, make_class_table
from rmpsam_ros.training.state import export_weights, load_exported

THINGS = torch.tensor([True, True, False])
OBJECT = 1


def rows(*texts):
    return torch.tensor([[float(sign) for sign in text] for text in texts])


def test_what_is_wanted_grows_with_the_mask():
    """Objects of ten and four cells: (IoU - 0.3) / 0.4, sharpened beside a better query."""
    masks = rows("11111111110000", "00000000001111")
    predicted = rows("11111111110000", "11111000000000", "00000000001110", "00000000000000")
    wanted, best = _wanted(predicted, masks, CalibrationConfig(sharpness=2.0))
    assert best[:3].tolist() == [0, 0, 1]
    expected = [1.0, 0.5 * 0.5**2, 1.0, 0.0]  # IoU 1, 0.5, 0.75 (the best of its object), 0
    torch.testing.assert_close(wanted, torch.tensor(expected))


def test_nothing_is_wanted_without_objects():
    wanted, best = _wanted(rows("11", "00"), torch.zeros(0, 2), CalibrationConfig())
    assert wanted.tolist() == [0, 0] and best.tolist() == [0, 0]


def one(logits, wanted, cls, annotated=(True, True, True), unknown=False, kept=None):
    """The loss of one query with logits [C + 1]."""
    logits = torch.tensor([logits])
    before = logits.softmax(-1) if kept is None else torch.tensor([kept]).softmax(-1)
    samples = QuerySamples(
        torch.zeros(1, 4),
        torch.zeros(1, 4),
        torch.tensor([wanted]),
        torch.tensor([cls]),
        torch.tensor([annotated]),
        torch.tensor([unknown]),
        torch.tensor([kept is not None]),
        before,
    )
    return float(calibration_loss(logits, samples, THINGS, OBJECT, 0.8))


P = [0.4, 0.2, 0.1, 0.3]
LOGITS = [math.log(p) for p in P]
LOSSES = [
    # arguments, loss
    ({"wanted": 1.0, "cls": 0}, -(0.8 * math.log(0.4) + 0.2 * math.log(0.6))),
    ({"wanted": 1.0, "cls": OBJECT}, -math.log(0.2)),
    ({"wanted": 1.0, "cls": 2}, -math.log(0.1)),
    ({"wanted": 1.0, "cls": UNNAMED}, -math.log(0.6)),  # some thing, whichever
    ({"wanted": 0.0, "cls": 0}, -math.log(0.3)),
    ({"wanted": 0.0, "cls": 0, "unknown": True}, 0.0),
    ({"wanted": 0.0, "cls": 0, "annotated": (True, False, False)}, -math.log(0.3 / 0.7)),
    ({"wanted": 0.25, "cls": 2}, -(0.25 * math.log(0.1) + 0.75 * math.log(0.3))),
    ({"wanted": 1.0, "cls": 0, "kept": LOGITS}, -sum(p * math.log(p) for p in P)),
]


@pytest.mark.parametrize("arguments, loss", LOSSES)
def test_loss(arguments, loss):
    assert one(LOGITS, **arguments) == pytest.approx(loss, abs=1e-5)


@pytest.fixture
def network():
    torch.manual_seed(0)
    made = build_network("rmpsam_lite", make_class_table(3, 0))
    # The last layer of the names starts at zero; here something is to be seen of it.
    torch.nn.init.normal_(made.object_adapter.name_branch[-1].weight, std=0.05)
    return made.eval()


def test_samples_are_what_the_adapter_sees(toys, network):
    config = toys(1)
    sample = config.open_sources()[0].data.load(0)
    samples = query_samples(network, sample, THINGS, (96, 96), True, CalibrationConfig())
    adapter = network.object_adapter
    embeddings = adapter.class_layer(samples.adapted) + adapter.name_branch(samples.pooled)
    logits = network.classifier(embeddings[None])[0]
    torch.testing.assert_close(logits.softmax(-1), samples.before, atol=1e-4, rtol=1e-3)
    assert samples.kept.all() and samples.annotated.all() and not samples.unknown.any()
    assert not adapter.name_branch._forward_hooks


def test_fitting_changes_the_scores_only(toys, network):
    config = toys(1)
    sample = config.open_sources()[0].data.load(0)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    settings = CalibrationConfig(epochs=20, batch_size=100, learning_rate=1e-3, dropout=0.0)
    samples = query_samples(network, sample, THINGS, (96, 96), False, settings)
    samples = samples._replace(kept=torch.zeros_like(samples.kept))
    losses = list(calibrate(network, samples, THINGS, OBJECT, settings))
    assert np.mean(losses[-3:]) < 0.7 * losses[0]
    changed = {
        key for key, tensor in network.state_dict().items() if not torch.equal(tensor, before[key])
    }
    fitted = ("object_adapter.class_layer.", "object_adapter.name_branch.")
    assert changed and all(key.startswith(fitted) for key in changed)


def test_networks_that_read_no_names_are_refused(toys):
    sample = toys(1).open_sources()[0].data.load(0)
    network = build_network("rmpsam_r18", make_class_table(3, 0)).eval()
    with pytest.raises(ValueError, match="only a network with names_from_pixels"):
        query_samples(network, sample, THINGS, (96, 96), False, CalibrationConfig())


def test_the_command_writes_weights(toys, network, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("rmpsam_ros.defaults.LONG_SIDE", 96)
    monkeypatch.setattr("rmpsam_ros.defaults.SHORT_SIDE", 96)
    config = toys(2, network="rmpsam_lite")
    start, out = tmp_path / "start.safetensors", tmp_path / "fitted.safetensors"
    export_weights(start, network, "rmpsam_lite", config.label_set, {})
    words = ["calibrate", str(config.path), "--weights", str(start), "--images", "2"]
    assert main([*words, "--out", str(out)]) == 0
    assert "steps" in capsys.readouterr().out
    fitted, labels = load_exported(out)
    assert labels.labels == config.label_set.labels
    assert not torch.equal(
        fitted.object_adapter.class_layer.weight, network.object_adapter.class_layer.weight
    )
    assert main([*words[:3], str(tmp_path / "missing"), *words[4:], "--out", str(out)]) == 1
    assert "missing" in capsys.readouterr().err
