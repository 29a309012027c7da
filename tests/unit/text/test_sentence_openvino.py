"""The encoder for sentence-transformers models on OpenVINO; docs/text.md says with what models it was compared."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from crnet.errors import ConfigError, FormatError, MissingDependencyError
from crnet.text.encoder_interface import is_same_encoder
from crnet.text.encoders import encoder_by_name
from crnet.utils.openvino_runtime import openvino, ops

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c"]
TABLE = np.array([[9, 9], [0, 1], [1, 0], [3, 0], [0, 4], [0, 8], [4, 0]], np.float32)
"""The vector of each word."""


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_graph(folder: Path, *inputs: str, table: np.ndarray = TABLE, tokens: int = -1, pooled: bool = False) -> None:
    """Write a graph that looks each token up and ignores its other inputs."""
    parameters = {name: ops.parameter([-1, tokens], np.int64, name=name) for name in inputs}
    for name, parameter in parameters.items():
        parameter.output(0).tensor.set_names({name})
    vectors = ops.gather(ops.constant(table), parameters["input_ids"], ops.constant(np.int64(0)))
    (folder / "openvino").mkdir(exist_ok=True)
    vectors = ops.reduce_mean(vectors, [1]) if pooled else vectors
    graph = openvino.Model([vectors], list(parameters.values()), "lookup")
    openvino.save_model(graph, folder / "openvino" / "openvino_model.xml", compress_to_fp16=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with the layout of sentence-transformers: 5.3 and newer, with a tokenizer that pads and cuts."""
    folder = tmp_path_factory.mktemp("model")
    write_graph(folder, "input_ids", "attention_mask", "token_type_ids")
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_padding(length=16, pad_token="[PAD]")
    tokenizer.enable_truncation(3)
    tokenizer.save(str(folder / "tokenizer.json"))
    kinds = ("base.modules.transformer.Transformer", "modules.pooling.Pooling", "base.modules.normalize.Normalize")
    paths = ("", "1_Pooling", "2_Normalize")
    parts = [{"idx": i, "path": path, "type": f"sentence_transformers.{kind}"} for i, (path, kind) in
             enumerate(zip(paths, kinds, strict=True))]  # fmt: skip
    write_json(folder / "modules.json", parts)
    write_json(folder / "1_Pooling" / "config.json", {"embedding_dimension": 2, "pooling_mode": "mean"})
    write_json(folder / "config_sentence_transformers.json", {"default_prompt_name": None, "prompts": {"query": ""}})
    write_json(folder / "sentence_bert_config.json", {"transformer_task": "feature-extraction"})
    write_json(folder / "tokenizer_config.json", {"model_max_length": 1e30})
    write_json(folder / "config.json", {"max_position_embeddings": 5})
    return folder


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "model"))


def encode(folder: Path, *texts: str) -> np.ndarray:
    vectors = encoder_by_name(f"sentence-openvino:{folder}").encode(texts)
    assert vectors.shape == (len(texts), 4800) and vectors.dtype == np.float32
    assert not vectors[:, 2:].any()
    return vectors[:, :2]


def test_the_mean_of_the_tokens_is_scaled_to_length_one(model: Path) -> None:
    """[CLS] a b [SEP] is (1, 0) (0, 4) (0, 8) (3, 0), so the mean is (1, 3)."""
    np.testing.assert_allclose(encode(model, "a b", " "), [[1 / 10**0.5, 3 / 10**0.5], [0, 0]], rtol=1e-6)


def test_threads_that_share_an_encoder_get_the_vectors_of_their_own_texts(model: Path) -> None:
    encoder, texts = encoder_by_name(f"sentence-openvino:{model}"), ["a", "b", "c", "a b"] * 50
    expected = encoder.encode(texts)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda text: encoder.encode([text]), texts))
    np.testing.assert_array_equal(np.concatenate(found), expected)


def test_texts_are_cut_at_the_longest_input_of_the_model(model: Path) -> None:
    """Five tokens, as config.json says: neither 3 nor 16, which stand in the tokenizer's file."""
    three_words, more = encode(model, "a b c", "a b c a a a")
    np.testing.assert_array_equal(three_words, more)
    assert not np.array_equal(three_words, encode(model, "a b")[0])


@pytest.mark.parametrize(
    ("options", "vector"),
    [
        ({"pooling_mode": "cls"}, (1, 0)),
        ({"pooling_mode": "max"}, (3, 8)),
        ({"pooling_mode": ["mean"]}, (1, 3)),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, (1, 0)),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False}, (1, 3)),
    ],
)
def test_pooling(copy: Path, options: dict[str, Any], vector: tuple[int, int]) -> None:
    write_json(copy / "1_Pooling" / "config.json", options)
    np.testing.assert_allclose(encode(copy, "a b")[0], np.array(vector) / np.hypot(*vector), rtol=1e-6)


def test_the_options_of_older_models(copy: Path) -> None:
    """`max_seq_length` comes before what other files state, and capital letters count as small ones."""
    write_json(copy / "sentence_bert_config.json", {"max_seq_length": 4, "do_lower_case": True})
    small, capital, longer = encode(copy, "a b", "A B", "a b c")
    np.testing.assert_array_equal(small, capital)
    np.testing.assert_array_equal(small, longer)


def test_the_name_identifies_weights_tokens_and_settings(model: Path, copy: Path) -> None:
    first, same = (encoder_by_name(f"sentence-openvino:{folder}") for folder in (model, copy))
    assert is_same_encoder(first.name, same.name) and first.name != same.name
    again = pickle.loads(pickle.dumps(first))
    assert again.name == first.name
    np.testing.assert_array_equal(again.encode(["a b"]), first.encode(["a b"]))
    write_graph(copy, "input_ids", table=TABLE + 1)
    with pytest.raises(ConfigError, match="not the ones that were used"):
        encoder_by_name(same.name)
    write_graph(copy, "input_ids", "attention_mask", "token_type_ids")
    write_json(copy / "1_Pooling" / "config.json", {"pooling_mode": "max"})
    with pytest.raises(ConfigError, match="not the ones that were used"):
        encoder_by_name(same.name)


def change(name: str, value: Any) -> Callable[[Path], None]:
    return lambda folder: write_json(folder / name, value)


REFUSED: list[tuple[Callable[[Path], Any], str]] = [
    (lambda f: shutil.rmtree(f / "openvino"), "there is no openvino/openvino_model.xml"),
    (lambda f: (f / "openvino/openvino_model.bin").unlink(), "openvino_model.bin: has 0 bytes"),
    (lambda f: (f / "openvino/openvino_model.xml").write_text("<net/>"), "not a graph"),
    (lambda f: (f / "openvino/openvino_model.xml").write_text("<!DOCTYPE net><net/>"), "document type"),
    (lambda f: write_graph(f, "input_ids", "position_ids"), "an input position_ids"),
    (lambda f: write_graph(f, "input_ids", table=TABLE * np.nan), "not finite"),
    (lambda f: write_graph(f, "input_ids", tokens=3), "cannot be computed"),
    (lambda f: write_graph(f, "input_ids", pooled=True), "does not return a vector for each token"),
    (lambda f: (f / "tokenizer.json").write_text("{}"), "not a tokenizer"),
    (lambda f: (f / "tokenizer.json").unlink(), "not a tokenizer"),
    (lambda f: (f / "modules.json").unlink(), "modules.json: not found"),
    (change("modules.json", {"a": 1}), "not a model of sentence-transformers"),
    (change("modules.json", [{"type": "x.Transformer"}, {"type": "x.Pooling"}, {"type": "x.Dense"}]), "Pooling, Dense"),
    (change("modules.json", [{"type": "x.StaticEmbedding"}]), "StaticEmbedding"),
    (
        change("modules.json", [{"type": "x.Transformer"}, {"type": "x.Pooling", "path": "../../etc"}]),
        "pooling is unknown",
    ),
    (change("1_Pooling/config.json", {"pooling_mode": "lasttoken"}), "its pooling is lasttoken"),
    (change("1_Pooling/config.json", {"pooling_mode": ["cls", "mean"]}), "its pooling is cls and mean"),
    (change("1_Pooling/config.json", []), "not a file of a model"),
    (change("config_sentence_transformers.json", {"default_prompt_name": "query"}), "prompt 'query'"),
    (change("config.json", {}), "does not state its longest input"),
]


@pytest.mark.parametrize(("damage", "reason"), REFUSED)
def test_what_it_cannot_compute_is_refused(copy: Path, damage: Callable[[Path], Any], reason: str) -> None:
    damage(copy)
    with pytest.raises((FormatError, ConfigError), match=reason) as caught:
        encode(copy, "a c")
    assert str(copy) in str(caught.value)


def test_a_missing_package_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingDependencyError) as caught:
        encode(model, "a")
    assert caught.value.remedy == 'pip install "crnet[sentence-openvino]"'
