from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from crnet.errors import ConfigError, FormatError, UsageError
from crnet.text.encoders import encoder_by_name
from crnet.text.skip_thoughts.corpus import read_corpus
from crnet.text.skip_thoughts.encoder import SkipThoughts
from crnet.text.skip_thoughts.model import SkipThoughtsModel, Triples
from crnet.text.skip_thoughts.trained_encoder import is_trained_encoder, write_trained_encoder
from crnet.text.skip_thoughts.training import SkipThoughtsConfig, train_skip_thoughts

# The first three chapters of "Pride and Prejudice" by Jane Austen (1775-1817), in the public domain everywhere; typed
# from memory, so a word may differ from the printed text.
NOVEL = Path(__file__).with_name("pride-and-prejudice.txt")
TINY = SkipThoughtsConfig(uni=16, bi=8, word_dimensions=12, words=300, epochs=3, batch_size=16, lr=0.01, save_every=4)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[float, float]]]:
    out = tmp_path_factory.mktemp("text") / "encoder"
    return out, train_skip_thoughts(str(NOVEL), str(out), TINY)


def test_the_loss_falls_on_a_novel(trained: tuple[Path, dict[str, tuple[float, float]]]) -> None:
    for first, last in trained[1].values():
        assert 4.5 < first < 5.9 and last < first - 0.4  # ln 300 = 5.7 before training


def test_a_sentence_predicts_its_neighbours(tmp_path: Path) -> None:
    # Six sentences in a ring. A model that ignores the middle sentence can only guess its neighbours among six: ln 6
    # nats on the first of 5 words, 0.36 per word at best.
    ring = ["Ann is old.", "Bob was here.", "Cat may go.", "Dan did it.", "Eve can see.", "Fay had two."]
    (tmp_path / "t.txt").write_text(" ".join(ring * 12))
    config = SkipThoughtsConfig(16, 8, 12, words=50, epochs=25, batch_size=12, lr=0.02)
    losses = train_skip_thoughts(tmp_path / "t.txt", tmp_path / "out", config)
    assert all(last < 0.2 for _, last in losses.values())


def test_training_writes_an_encoder(trained: tuple[Path, dict[str, tuple[float, float]]]) -> None:
    folder, _ = trained
    encoder = encoder_by_name(f"skip-thoughts:{folder}")
    vectors = encoder.encode(["I know you.", "", "You know me very well, Lizzy."])
    assert np.count_nonzero(vectors[:, 32:]) == 0 and not vectors[1].any()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [2**0.5, 0, 2**0.5], rtol=1e-5)
    assert encoder_by_name(encoder.name).name == encoder.name
    run = json.loads((folder / "run.json").read_text())
    assert run["run"]["config"]["uni"] == 16 and "torch" in run["made_with"] and run["sentences"] > 150
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        ["bi.safetensors", "encoder.json", "log.jsonl", "run.json", "uni.safetensors", "words.txt"]
    )


@pytest.mark.parametrize("part", ["uni", "bi"])
def test_the_encoder_equals_the_trained_network(tmp_path: Path, part: str) -> None:
    torch.manual_seed(0)
    models = {name: SkipThoughtsModel(name, 5, 4, units) for name, units in (("uni", 6), ("bi", 3))}
    write_trained_encoder(
        tmp_path, ["<eos>", "UNK", "I", "know", "."], {n: model.encoder_tensors() for n, model in models.items()}
    )
    vector = SkipThoughts(tmp_path).encode(["I know it ."])[0]
    words = torch.tensor([2, 3, 1, 4])
    with torch.no_grad():
        expected = models[part].encode(Triples.pad([words, words[:1]], [words] * 2, [words] * 2))[0]
    place = slice(0, 6) if part == "uni" else slice(6, 12)
    np.testing.assert_allclose(vector[place], expected / expected.norm(), atol=1e-6)


class _Killed(Exception):
    pass


def test_a_resumed_training_gives_the_same_bytes(
    trained: tuple[Path, dict[str, tuple[float, float]]], tmp_path: Path
) -> None:
    folder, losses = trained

    def stop_at(task: str, step: int) -> None:
        def stop(current: str, done: int, total: int, note: str = "") -> None:
            if (current, done) == (task, step):
                raise _Killed

        with pytest.raises(_Killed):
            train_skip_thoughts(NOVEL, tmp_path / "out", TINY, progress=stop)
        assert not is_trained_encoder(tmp_path / "out")

    stop_at("training uni-skip", 6)
    stop_at("training bi-skip", 9)
    assert train_skip_thoughts(NOVEL, tmp_path / "out", TINY) == losses
    for name in ("uni.safetensors", "bi.safetensors", "words.txt", "log.jsonl", "encoder.json"):
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()


def test_a_finished_training_is_not_repeated(trained: tuple[Path, dict[str, tuple[float, float]]]) -> None:
    folder, losses = trained
    before = (folder / "uni.safetensors").stat().st_mtime_ns
    assert train_skip_thoughts(NOVEL, folder, TINY) == losses
    assert (folder / "uni.safetensors").stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match=r"made with another configuration: config\.seed was 0 and is now 1"):
        train_skip_thoughts(NOVEL, folder, replace(TINY, seed=1))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"uni": 2401}, r"vectors of 2401 \+ 2 x 1200 numbers, but a clip's text holds at most 4800"),
        ({"epochs": 0}, "epochs is 0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"batch_size": -1}, "batch_size is -1"),
    ],
)
def test_bad_configurations_are_refused(change: dict[str, float], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        replace(SkipThoughtsConfig(), **change)  # type: ignore[arg-type]


def test_the_default_sizes_fill_a_clips_text() -> None:
    assert SkipThoughtsConfig().uni + 2 * SkipThoughtsConfig().bi == 4800


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "has only 0 sentences"),
        (b"One. Two. Three.", "has only 3 sentences"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        ((b"word " * 40 + b". A b. ") * 20, "has no three sentences in a row of at most 30 words"),
        (None, "cannot be read"),
    ],
)
def test_bad_texts_are_refused(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "t.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=reason):
        train_skip_thoughts(path, tmp_path / "out", TINY)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_files_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="is not empty"):
        train_skip_thoughts(NOVEL, tmp_path, TINY)
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize("name", ["uni.safetensors", "words.txt", "encoder.json"])
def test_a_damaged_encoder_is_refused(
    trained: tuple[Path, dict[str, tuple[float, float]]], tmp_path: Path, name: str
) -> None:
    for path in trained[0].iterdir():
        content = path.read_bytes()
        (tmp_path / path.name).write_bytes(content[:-3] + b"}" + content[-2:] if path.name == name else content)
    with pytest.raises(FormatError, match=name):
        SkipThoughts(tmp_path)


def test_words_and_sentences_equal_hand_calculation(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("We saw it. We\nleft it.\n\nUNK b b a a\n\n" + "We saw.\n" * 10)
    corpus = read_corpus(path, 6)
    # we 12, . 12, saw 11; a, b and it 2 each, in alphabetical order
    assert corpus.words == ["<eos>", "UNK", ".", "We", "saw", "a"]
    sentences = [corpus.sentence(n).tolist() for n in range(4)]
    assert sentences == [[3, 4, 1, 2, 0], [3, 1, 1, 2, 0], [1, 1, 1, 5, 5, 0], [3, 4, 2, 0]]
    assert corpus.triples(4).tolist() == list(range(4, 12))
    assert len(corpus.starts) - 1 == 13
    path.write_text("a cat .\n" * 14)
    lines = read_corpus(path, 9, sentence_per_line=True)
    assert lines.words == ["<eos>", "UNK", ".", "a", "cat"] and len(lines.starts) - 1 == 14
