"""The text tower: a document's vector is the same in every company, and lower precision stays near."""

import numpy as np
import pytest
import torch

from tests.model.tiny_encoder import write_tiny_encoder
from zhiyin.recommender.encoder.text_encoder import TextEncoder
from zhiyin.settings import get_settings
from zhiyin.store import write_json

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


def test_pooling_is_what_the_files_of_the_model_say(tmp_path):
    words = " ".join(DOCUMENTS[:3]).replace(",", " ").split()
    mean = TextEncoder(write_tiny_encoder(tmp_path / "mean", words), precision="float32")
    first = TextEncoder(write_tiny_encoder(tmp_path / "first", words, "cls_token"), precision="float32")
    assert mean.digest != first.digest
    ids = first.tokenize(["whole milk"])
    hidden = first.model(input_ids=torch.tensor(ids)).last_hidden_state[0].detach().numpy()
    for encoder, wanted in ((first, hidden[0]), (mean, hidden.mean(axis=0))):
        assert np.allclose(encoder.encode(["whole milk"])[0], wanted / np.linalg.norm(wanted), atol=1e-5)
    with pytest.raises(ValueError, match=r"1_Pooling/config\.json: asks for max_tokens"):
        TextEncoder(write_tiny_encoder(tmp_path / "max", words, "max_tokens"))
    write_json(tmp_path / "first" / "modules.json", [{"type": "sentence_transformers.models.Dense"}])
    with pytest.raises(ValueError, match=r"modules\.json: asks for sentence_transformers\.models\.Dense"):
        TextEncoder(str(tmp_path / "first"))


def test_the_digest_names_the_weights_wherever_they_lie_and_no_text_is_longer_than_the_model_reads(tmp_path):
    here = TextEncoder(write_tiny_encoder(tmp_path / "here", ["milk", "a"]), precision="float32")
    there = TextEncoder(write_tiny_encoder(tmp_path / "there", ["milk", "a"]), precision="float32")
    assert here.digest == there.digest
    with torch.no_grad():
        there.model.encoder.layer[0].output.dense.bias += 1
    there.save(tmp_path / "changed")
    assert TextEncoder(str(tmp_path / "changed"), precision="float32").digest != here.digest
    long = here.tokenize(["milk " * 40])[0]
    assert len(long) == 16
    assert long[-1] == here.tokenizer.sep_token_id
    assert np.isfinite(here.encode(["milk " * 40])).all()
