"""The open-vocabulary classifier."""

from __future__ import annotations

import math

import pytest
import torch

from rmpsam_ros.model import RmpSam, random_text_embeddings
from rmpsam_ros.model.classifier import LOGIT_SCALE, TextClassifier


@pytest.fixture
def classifier() -> TextClassifier:
    return TextClassifier(768)


def test_logits_are_the_scaled_cosine_to_the_best_synonym(classifier: TextClassifier) -> None:
    table = random_text_embeddings("t", 5, 3)
    classifier.set_text_embeddings(table)
    logits = classifier(7.5 * table[2, 1].view(1, 1, 768))
    expected = torch.einsum("cpe,e->cp", table, table[2, 1]).amax(dim=1) * LOGIT_SCALE
    torch.testing.assert_close(logits[0, 0, :5], expected)
    assert logits[0, 0].argmax() == 2
    assert math.isclose(float(logits[0, 0, 2]), 100.003, abs_tol=1e-3)


def test_no_object_is_exactly_zero(classifier: TextClassifier) -> None:
    classifier.set_text_embeddings(random_text_embeddings("t", 5, 3))
    logits = classifier(torch.randn(2, 4, 768))
    assert logits.shape == (2, 4, 6)
    assert torch.equal(logits[..., -1], torch.zeros(2, 4))


def test_padding_with_the_first_synonym_changes_nothing(classifier: TextClassifier) -> None:
    table = random_text_embeddings("t", 4, 2)
    embeddings = torch.randn(1, 9, 768)
    classifier.set_text_embeddings(table)
    expected = classifier(embeddings)
    classifier.set_text_embeddings(torch.cat((table, table[:, :1], table[:, :1]), dim=1))
    torch.testing.assert_close(classifier(embeddings), expected)


def test_zero_embedding_gives_zero_logits(classifier: TextClassifier) -> None:
    classifier.set_text_embeddings(random_text_embeddings("t", 4, 2))
    assert torch.equal(classifier(torch.zeros(1, 1, 768)), torch.zeros(1, 1, 5))


def test_empty_vocabulary_knows_only_no_object(classifier: TextClassifier) -> None:
    assert classifier(torch.randn(1, 3, 768)).shape == (1, 3, 1)
    assert classifier.num_classes == 0


@pytest.mark.parametrize(("classes", "synonyms"), [(1, 1), (133, 17), (40, 1), (600, 2)])
def test_vocabulary_can_be_exchanged(r18: RmpSam, classes: int, synonyms: int) -> None:
    before = r18.classifier.text_embeddings
    keys = set(r18.state_dict())
    try:
        r18.set_text_embeddings(random_text_embeddings("t", classes, synonyms))
        with torch.inference_mode():
            output = r18.decode_objects(torch.rand(1, 256, 8, 8))
        assert output.class_logits.shape == (1, 100, classes + 1)
        assert set(r18.state_dict()) == keys
    finally:
        r18.set_text_embeddings(before)


def test_vocabulary_takes_precision_and_place_of_the_model(r18_double: RmpSam) -> None:
    before = r18_double.classifier.text_embeddings
    try:
        r18_double.set_text_embeddings(random_text_embeddings("t", 2, 1).half())
        assert r18_double.classifier.text_embeddings.dtype == torch.float64
    finally:
        r18_double.set_text_embeddings(before)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (torch.ones(3, 768), r"\[3, 768\]; expected \[classes, synonyms, 768\]"),
        (random_text_embeddings("t", 3, 2, 512), r"\[3, 2, 512\]"),
        (torch.zeros(3, 0, 768), "at least one synonym"),
        (torch.zeros(3, 1, 768), "unit vectors; their norms range from 0 to 0"),
        (2 * random_text_embeddings("t", 3, 2), "Normalise each vector"),
        (torch.full((3, 1, 768), math.nan), "unit vectors"),
    ],
    ids=["2-D", "other model", "no synonym", "zeros", "long", "nan"],
)
def test_unusable_vocabularies_are_refused(
    classifier: TextClassifier, table: torch.Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        classifier.set_text_embeddings(table)
    assert classifier.num_classes == 0
