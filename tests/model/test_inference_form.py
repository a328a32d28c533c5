"""The form that is executed computes what the network computes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from rmpsam_ros.model import (
    MODEL_CONFIGS,
    RmpSam,
    build_model,
    load_random_weights,
    random_text_embeddings,
)
from rmpsam_ros.model.inference_form import ExactLayerNorm, InferenceForm

NAMES = sorted(MODEL_CONFIGS)


def network(name: str) -> RmpSam:
    """A network in float64 with weights that make every part count."""
    table = random_text_embeddings("form.vocabulary", 5, 4)
    table[1:, 2:] = table[1:, :1]  # missing synonyms
    model = build_model(name, table)
    if name in ("rmpsam_r18", "rmpsam_r50"):
        load_random_weights(model)
        return model.double()
    torch.manual_seed(5)
    with torch.no_grad():
        for module in model.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.2, 0.2)
            if hasattr(module, "attention_biases"):
                module.attention_biases.normal_()
        for projection in getattr(model.backbone, "projections", ()):
            projection[1].weight.normal_(std=0.1)
            projection[1].bias.normal_()
        if model.object_adapter.name_branch is not None:
            model.object_adapter.name_branch[-1].weight.normal_(std=0.5)
    return model.double()


@pytest.fixture(scope="module", params=NAMES)
def pair(request) -> tuple[RmpSam, InferenceForm]:
    model = network(request.param)
    return model, model.inference_form(torch.float64)


def run(form: InferenceForm, part: str, *inputs: Tensor) -> dict[str, Tensor]:
    module = form.part(part)
    with torch.inference_mode():
        outputs = module(*inputs)
    for tensor, shape in zip(outputs, module.outputs.values(), strict=True):
        assert tensor.ndim == len(shape)
        for length, size in zip(tensor.shape, shape, strict=True):
            assert isinstance(size, str) or length == size
    return dict(zip(module.output_names, outputs, strict=True))


def assert_same(actual: Tensor, expected: Tensor) -> None:
    assert actual.shape == expected.shape
    if expected.numel():
        assert (actual - expected).abs().max() <= 1e-6 * expected.abs().max()


def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, 64, 96, generator=generator, dtype=torch.float64)
    corners = torch.rand(2, 3, 2, 2, generator=generator, dtype=torch.float64)
    return images, corners.sort(dim=2)[0].reshape(2, 3, 4)


def test_every_part_computes_what_the_network_computes(pair):
    model, form = pair
    images, boxes = inputs()
    with torch.inference_mode():
        features = model.features(images)
        objects, prompts = model.decode(features, boxes)
        tube = model.decode_objects(features, frames=2)
    expected = {
        "class_logits": objects.class_logits,
        "mask_logits": objects.mask_logits,
        "queries": objects.queries,
        "prompt_mask_logits": prompts.mask_logits,
        "prompt_iou": prompts.iou[..., 0],
    }
    compact = run(form, "encoder", images)["features"]
    assert compact.shape[1] < features.shape[1]
    assert_same(torch.einsum("dc,bchw->bdhw", form.network.lift, compact), features)
    whole = run(form, "frame", images, boxes)
    assert torch.equal(whole.pop("features"), compact)
    for outputs in (
        whole,
        run(form, "decoder", compact, boxes),
        run(form, "prompt_decoder", compact, boxes),
    ):
        for name, tensor in outputs.items():
            assert_same(tensor, expected[name])
    over_time = run(form, "tube_decoder", compact)
    assert_same(over_time["mask_logits"], tube.mask_logits)
    assert_same(over_time["class_logits"], tube.class_logits)
    assert_same(over_time["queries"], tube.queries)


@pytest.mark.parametrize("length", [1, 2])
def test_tubes_of_any_length_have_an_axis_for_it(pair, length):
    _, form = pair
    features = run(form, "encoder", inputs()[0])["features"][:length]
    masks = run(form, "tube_decoder", features)["mask_logits"]
    assert masks.shape[:3] == (1, 100, length)


def test_prompts_are_optional(pair):
    _, form = pair
    images, boxes = inputs()
    without = run(form, "frame", images, boxes[:, :0])
    assert without["prompt_iou"].shape == (2, 0)
    assert_same(without["mask_logits"], run(form, "frame", images, boxes)["mask_logits"])


def test_a_form_is_a_copy(pair):
    model, form = pair
    before = copy.deepcopy(model.state_dict())
    assert not any(parameter.requires_grad for parameter in form.network.parameters())
    own = {parameter.data_ptr() for parameter in model.parameters()}
    assert not own & {parameter.data_ptr() for parameter in form.network.parameters()}
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_positions_norms_and_outputs_stay_exact_in_half_precision(pair, dtype):
    model, form = pair
    low = copy.deepcopy(model).float().inference_form(dtype)
    for name, module in low.network.named_modules():
        whole = name.startswith(("backbone.", "neck."))
        exact = "offset_conv" in name or (dtype == torch.bfloat16 and "upsample_conv" in name)
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            assert module.weight.dtype == (torch.float32 if exact else dtype), name
        elif isinstance(module, nn.LayerNorm) or (isinstance(module, nn.Linear) and not whole):
            assert module.weight.dtype == torch.float32, name
    images, _ = inputs()
    actual = run(low, "encoder", images.float())["features"]
    expected = run(form, "encoder", images)["features"]
    assert actual.dtype == torch.float32
    # Place, and ones: rounded where they are computed, never to half precision.
    torch.testing.assert_close(actual[:, -3:], expected[:, -3:].float(), atol=2e-7, rtol=0)
    error = (actual.double() - expected).norm() / expected.norm()
    assert 1e-5 < error < (5e-3 if dtype == torch.float16 else 4e-2)


def test_exact_norms_accept_every_precision():
    norm = nn.LayerNorm(8)
    x = torch.randn(3, 8)
    actual = ExactLayerNorm(norm)(x.half())
    assert actual.dtype == torch.float16
    torch.testing.assert_close(actual.float(), norm(x.half().float()), atol=2e-3, rtol=0)


def test_an_unknown_part_is_refused_by_name(pair):
    with pytest.raises(ValueError, match=r"no part 'head'; it has encoder, decoder"):
        pair[1].part("head")


def test_no_batch_normalisation_is_left(pair):
    assert not any(isinstance(part, nn.BatchNorm2d) for part in pair[1].network.modules())
