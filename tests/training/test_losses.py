"""The losses against cases computed by hand, and one step of the whole against the formulas."""

import math

import pytest
import torch

from rmpsam_ros.data.samples import UNNAMED
from rmpsam_ros.model import RawObjects, RawPrompts, StageOutput
from rmpsam_ros.training.losses import (
    NO_CLASS,
    LossConfig,
    ObjectTargets,
    class_loss,
    dice_loss,
    mask_loss,
    mostly_ignored,
    name_loss,
    object_losses,
    prompt_losses,
)

THINGS = torch.tensor([True, True, False])
ALL = torch.ones(3, dtype=torch.bool)


def targets(classes, masks=None, annotated=ALL, ignore=None):
    """Targets of a picture of 8 x 8 pixels and three classes."""
    count = len(classes)
    masks = torch.zeros(count, 1, 8, 8, dtype=torch.bool) if masks is None else masks
    ignore = torch.zeros(1, 8, 8, dtype=torch.bool) if ignore is None else ignore
    return ObjectTargets(torch.tensor(classes, dtype=torch.int64), masks, ignore, annotated)


@pytest.mark.parametrize(
    ("logits", "target", "weights", "expected"),
    [
        ([0.0, 0.0], [1.0, 0.0], [1.0, 1.0], math.log(2)),
        ([math.log(3), 0.0], [1.0, 0.0], [1.0, 1.0], (math.log(4 / 3) + math.log(2)) / 2),
        ([math.log(3), 50.0], [1.0, 0.0], [1.0, 0.0], math.log(4 / 3)),  # unknown point
        ([5.0, 5.0], [0.0, 0.0], [0.0, 0.0], 0.0),  # nothing known
    ],
)
def test_mask_loss(logits, target, weights, expected):
    loss = mask_loss(*(torch.tensor([values]) for values in (logits, target, weights)))
    assert loss.tolist() == pytest.approx([expected], abs=1e-6)


@pytest.mark.parametrize(
    ("logits", "target", "weights", "expected"),
    [
        ([0.0, 0.0], [1.0, 0.0], [1.0, 1.0], 1 - (2 * 0.5 + 1) / (1 + 1 + 1)),
        ([math.log(3), -math.log(3)], [1.0, 1.0], [1.0, 1.0], 1 - (2 * 1 + 1) / (1 + 2 + 1)),
        ([0.0, 90.0], [1.0, 0.0], [1.0, 0.0], 1 - (2 * 0.5 + 1) / (0.5 + 1 + 1)),
        ([-90.0, -90.0], [0.0, 0.0], [1.0, 1.0], 0.0),  # nothing expected, nothing found
    ],
)
def test_dice_loss(logits, target, weights, expected):
    loss = dice_loss(*(torch.tensor([values]) for values in (logits, target, weights)))
    assert loss.tolist() == pytest.approx([expected], abs=1e-6)


def softmax_loss(logits, index):
    return math.log(sum(math.exp(value) for value in logits)) - logits[index]


class TestClassLoss:
    logits = torch.tensor([[1.0, 2.0, 3.0, 0.0], [0.5, -1.0, 2.0, 0.0]])
    none = torch.zeros(2, dtype=torch.bool)

    def loss(self, target, queries=(0,), objects=(0,), ignored=None, general=NO_CLASS):
        return class_loss(
            self.logits,
            target,
            torch.tensor(queries, dtype=torch.int64),
            torch.tensor(objects, dtype=torch.int64),
            THINGS,
            LossConfig(),
            self.none if ignored is None else torch.tensor(ignored),
            general,
        )

    @pytest.mark.parametrize(
        ("classes", "own"),
        [([1], 0.3), ([0], 1.0), ([2], 1.0)],  # a thing; the general class itself; stuff
    )
    def test_the_general_class_will_do_for_a_share_of_the_loss_of_a_thing(self, classes, own):
        (index,) = classes
        loss, _ = self.loss(targets(classes), general=0)
        void = 0.1 * softmax_loss([0.5, -1, 2, 0], 3)
        row = [1.0, 2.0, 3.0, 0.0]
        either = math.log(sum(map(math.exp, row))) - math.log(math.exp(1) + math.exp(row[index]))
        expected = own * softmax_loss(row, index) + (1 - own) * either
        assert float(loss) == pytest.approx(expected + void, rel=1e-6)

    def test_matched_and_unmatched(self):
        loss, weight = self.loss(targets([1]))
        expected = softmax_loss([1, 2, 3, 0], 1) + 0.1 * softmax_loss([0.5, -1, 2, 0], 3)
        assert float(loss) == pytest.approx(expected, rel=1e-6)
        assert float(weight) == pytest.approx(1.1)

    def test_classes_that_are_not_annotated_cannot_be_denied(self):
        annotated = torch.tensor([True, True, False])
        loss, _ = self.loss(targets([1], annotated=annotated))
        expected = softmax_loss([1, 2, 3, 0], 1) + 0.1 * softmax_loss([0.5, -1, 0], 2)
        assert float(loss) == pytest.approx(expected, rel=1e-6)

    def test_a_data_set_without_classes_denies_nothing(self):
        nothing = torch.zeros(3, dtype=torch.bool)
        loss, weight = self.loss(targets([], annotated=nothing), (), ())
        assert float(loss) == 0
        assert float(weight) == pytest.approx(0.2)

    def test_object_without_name_must_be_some_thing(self):
        loss, _ = self.loss(targets([UNNAMED]))
        total = sum(math.exp(value) for value in (1, 2, 3, 0))
        expected = math.log(total) - math.log(math.exp(1) + math.exp(2))
        expected += 0.1 * softmax_loss([0.5, -1, 2, 0], 3)
        assert float(loss) == pytest.approx(expected, rel=1e-6)

    def test_query_on_unknown_pixels_is_not_punished(self):
        loss, weight = self.loss(targets([1]), ignored=[True, True])
        assert float(loss) == pytest.approx(softmax_loss([1, 2, 3, 0], 1), rel=1e-6)
        assert float(weight) == pytest.approx(1.0)

    def test_gradient_is_finite_with_denied_classes(self):
        logits = self.logits.clone().requires_grad_()
        empty = torch.zeros(0, dtype=torch.int64)
        nothing = targets([], annotated=torch.zeros(3, dtype=torch.bool))
        class_loss(logits, nothing, empty, empty, THINGS, LossConfig(), self.none)[0].backward()
        assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_mostly_ignored():
    ignore = torch.zeros(1, 8, 8, dtype=torch.bool)
    ignore[:, :, :4] = True
    logits = torch.full((3, 2, 2), -1.0)
    logits[0, :, 0] = 1  # on unknown pixels only
    logits[1] = 1  # half and half
    assert mostly_ignored(logits, ignore).tolist() == [True, False, False]


def constant_maps(values, size=2):
    """Mask logits that are the same everywhere: sampling points cannot matter."""
    return torch.tensor(values)[None, :, None, None].expand(1, len(values), size, size).clone()


def object_output(class_rows, mask_values):
    logits, masks = torch.tensor([class_rows]), constant_maps(mask_values)
    empty = torch.zeros(1, len(mask_values), 1)
    return logits, masks, StageOutput(empty, masks, logits, empty), empty


def test_object_losses_follow_the_formulas():
    """One picture, two queries, one object that covers everything: all terms by hand."""
    rows, values = [[2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]], [1.0, -3.0]
    logits, masks, stage, empty = object_output(rows, values)
    output = RawObjects(logits, masks, empty, empty, (stage, stage, stage))
    target = targets([0], torch.ones(1, 1, 8, 8, dtype=torch.bool))
    config = LossConfig(num_points=64)
    losses = object_losses(
        output, [target], THINGS, config, torch.Generator().manual_seed(0), torch.tensor(1.0)
    )
    classification = softmax_loss(rows[0], 0) + 0.1 * softmax_loss(rows[1], 3)
    probability = 1 / (1 + math.exp(-1))
    dice = 1 - (2 * 64 * probability + 1) / (64 * probability + 64 + 1)
    assert float(losses["class"]) == pytest.approx(4 * 2 * classification / 1.1, rel=1e-5)
    assert float(losses["mask"]) == pytest.approx(4 * 5 * -math.log(probability), rel=1e-5)
    assert float(losses["dice"]) == pytest.approx(4 * 5 * dice, rel=1e-5)


def test_class_logits_of_stages_can_be_as_flat_as_the_final_ones():
    rows = [[2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]
    logits, masks, _, empty = object_output(rows, [1.0, -3.0])
    steep = StageOutput(empty, masks, 10 * logits, empty)
    target = targets([0], torch.ones(1, 1, 8, 8, dtype=torch.bool))
    config = LossConfig(num_points=64, stage_logits=0.1)
    losses = object_losses(
        RawObjects(logits, masks, empty, empty, (steep, steep)),
        [target],
        THINGS,
        config,
        torch.Generator().manual_seed(0),
        torch.tensor(1.0),
    )
    classification = softmax_loss(rows[0], 0) + 0.1 * softmax_loss(rows[1], 3)
    assert float(losses["class"]) == pytest.approx(3 * 2 * classification / 1.1, rel=1e-5)


def test_mask_losses_are_divided_by_all_objects_of_the_batch():
    logits, masks, _, empty = object_output([[0.0] * 4] * 2, [1.0, 1.0])
    output = RawObjects(logits, masks, empty, empty, ())
    target = targets([0, 1], torch.ones(2, 1, 8, 8, dtype=torch.bool))
    arguments = ([target], THINGS, LossConfig(num_points=16))
    one, two = (
        object_losses(output, *arguments, torch.Generator().manual_seed(0), torch.tensor(number))
        for number in (1.0, 2.0)
    )
    assert float(one["mask"]) == pytest.approx(2 * float(two["mask"]), rel=1e-6)
    assert float(one["dice"]) == pytest.approx(2 * float(two["dice"]), rel=1e-6)


def test_picture_without_objects_gives_zero_mask_loss_with_a_gradient():
    logits, masks, _, empty = object_output([[0.0] * 4] * 2, [1.0, 1.0])
    masks.requires_grad_()
    losses = object_losses(
        RawObjects(logits, masks, empty, empty, ()),
        [targets([])],
        THINGS,
        LossConfig(num_points=16),
        torch.Generator(),
        torch.tensor(1.0),
    )
    losses["mask"].backward()
    assert losses["mask"].item() == 0
    assert torch.equal(masks.grad, torch.zeros_like(masks))


def test_tubes_use_all_frames():
    """An object in the second frame only is found by the query that fires there."""
    masks = torch.full((1, 2, 2, 4, 4), -9.0)
    masks[0, 0, 0], masks[0, 1, 1] = 9.0, 9.0
    truth = torch.zeros(1, 2, 16, 16, dtype=torch.bool)
    truth[0, 1] = True
    target = ObjectTargets(torch.tensor([0]), truth, torch.zeros(2, 16, 16, dtype=torch.bool), ALL)
    logits, empty = torch.zeros(1, 2, 4), torch.zeros(1, 2, 1)
    losses = object_losses(
        RawObjects(logits, masks, empty, empty, ()),
        [target],
        THINGS,
        LossConfig(num_points=256),
        torch.Generator().manual_seed(0),
        torch.tensor(1.0),
    )
    assert float(losses["dice"]) < 5 * 0.15  # 0.5 or more with the other query


def test_prompt_losses_follow_the_formulas():
    values, ious = [1.0, -2.0], [0.3, 0.6]
    masks = constant_maps(values)
    iou = torch.tensor(ious).view(1, 2, 1)
    truth = torch.ones(1, 2, 8, 8, dtype=torch.bool)
    truth[0, 1] = False
    losses = prompt_losses(
        RawPrompts(masks, torch.zeros(1), iou, ()),
        truth,
        torch.ones(1, 8, 8, dtype=torch.bool),
        LossConfig(num_points=64),
        torch.Generator().manual_seed(0),
    )
    p = [1 / (1 + math.exp(-value)) for value in values]
    dice = [1 - (128 * p[0] + 1) / (64 * p[0] + 65), 1 - 1 / (64 * p[1] + 1)]
    entropy = [-math.log(p[0]), -math.log(1 - p[1])]
    error = [(guess - (1 - loss)) ** 2 for guess, loss in zip(ious, dice, strict=True)]
    assert float(losses["mask"]) == pytest.approx(5 * sum(entropy) / 2, rel=1e-5)
    assert float(losses["dice"]) == pytest.approx(5 * sum(dice) / 2, rel=1e-5)
    assert float(losses["iou"]) == pytest.approx(10 * sum(error) / 2, rel=1e-5)


def test_iou_target_has_no_gradient():
    masks = constant_maps([1.0]).requires_grad_()
    iou = torch.zeros(1, 1, 1, requires_grad=True)
    losses = prompt_losses(
        RawPrompts(masks, torch.zeros(1), iou, ()),
        torch.ones(1, 1, 8, 8, dtype=torch.bool),
        torch.ones(1, 8, 8, dtype=torch.bool),
        LossConfig(num_points=16),
        torch.Generator(),
    )
    losses["iou"].backward()
    assert masks.grad is None
    assert float(iou.grad) < 0


class NamedBySum:
    """Stands in for a network: the logits of a mask are the sums of the features in it."""

    def name_logits(self, features, masks):
        return torch.einsum("tchw,gthw->gc", features, masks.float())


def quarter(row, column):
    """A mask of 8 x 8 pixels that is one pixel of features of 2 x 2."""
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = True
    return mask


def test_name_loss_is_the_mean_over_named_objects_of_the_batch():
    features = torch.randn(2, 3, 2, 2)
    first = targets([1, UNNAMED], torch.stack((quarter(0, 1), quarter(1, 1))))
    second = targets([0, 2], torch.stack((quarter(1, 0), quarter(0, 0))))
    loss = name_loss(NamedBySum(), features, [first, second], LossConfig(names=2.0))
    logits = torch.stack((features[0, :, 0, 1], features[1, :, 1, 0], features[1, :, 0, 0]))
    expected = 2 * torch.nn.functional.cross_entropy(logits, torch.tensor([1, 0, 2]))
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)


def test_name_loss_pools_the_frames_of_a_tube():
    features = torch.randn(4, 3, 2, 2)  # two tubes of two frames
    one = targets([1], torch.cat((quarter(0, 0), quarter(0, 1)))[None])
    loss = name_loss(NamedBySum(), features, [one, targets([])], LossConfig(names=1.0))
    logits = features[0, :, 0, 0] + features[1, :, 0, 1]
    assert loss.item() == pytest.approx(softmax_loss(logits.tolist(), 1), abs=1e-5)


def test_name_loss_of_nothing_is_zero_with_a_gradient():
    features = torch.randn(1, 3, 2, 2, requires_grad=True)
    speck = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    speck[0, 0, 0, 0] = True  # less than half of a pixel of the features
    for target in (targets([UNNAMED], quarter(0, 0)[None]), targets([1], speck), targets([])):
        loss = name_loss(NamedBySum(), features, [target], LossConfig(names=1.0))
        loss.backward()
        assert loss.item() == 0 and not features.grad.any()
