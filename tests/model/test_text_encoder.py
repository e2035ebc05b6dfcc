"""The text tower: a document's vector is the same in every company, and lower precision stays near."""

import numpy as np
import pytest

from zhiyin.recommender.text_encoder import TextEncoder
from zhiyin.settings import get_settings

DOCUMENTS = [
    "whole milk",
    "private, grocery, frozen pizza, deep dish, 12 oz",
    "toy story, 1995, animation",
    "a " * 400,
    "",
]
NAME = get_settings().text_encoder


@pytest.fixture(scope="module")
def exact():
    return TextEncoder(NAME, precision="float32")


def test_a_document_has_one_vector_of_unit_length_whatever_stands_beside_it(exact):
    together = exact.encode(DOCUMENTS * 40)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    alone = np.concatenate([exact.encode([text]) for text in DOCUMENTS])
    assert np.allclose(together[:5], alone, atol=1e-5)
    assert np.allclose(together[-5:], alone, atol=1e-5)
    assert exact.encode([]).shape == (0, exact.dimensions)


@pytest.mark.parametrize(("precision", "least"), [("bfloat16", 0.999), ("int8", 0.8)])
def test_lower_precision_stays_near_and_is_never_mixed_up_with_another(exact, precision, least):
    low = TextEncoder(NAME, precision=precision)
    cosine = (low.encode(DOCUMENTS[:3]) * exact.encode(DOCUMENTS[:3])).sum(axis=1)
    assert least < cosine.min()
    assert cosine.max() < 1 - 1e-7
    assert low.digest != exact.digest
