from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from crnet.errors import ConfigError, FormatError
from crnet.text.encoder_interface import is_same_encoder
from crnet.text.encoders import encoder_by_name
from crnet.text.skip_thoughts import encoder as skip_thoughts
from crnet.text.skip_thoughts.encoder import SkipThoughts
from crnet.text.skip_thoughts.kiros_files import read_options
from crnet.types import TEXT_DIMENSIONS
from skip_thoughts_files import WORDS, options_text, write_kiros_files

TEXTS = [
    "I don't know what you think.",
    "Really?",
    "What do you know, Really. I think it's what you know. Do I",
    "what you think",
    "",
    "zebras",
]
TOKENS = [  # split by hand
    ["I", "do", "n't", "know", "what", "you", "think", "."],
    ["Really", "?"],
    ["UNK", "do", "you", "know", ",", "Really", ".", "I", "think", "it", "'s", "what", "you", "know", ".", "UNK", "I"],
    ["what", "you", "think"],
    [],
    ["UNK"],
]


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-x))


def reference_gru(
    arrays: dict[str, NDArray[np.float32]], prefix: str, words: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Encode one text step by step in float64, with the published equations and array layout."""
    w, u, b, wx, ux, bx = (arrays[f"{prefix}_{n}"].astype(np.float64) for n in ("W", "U", "b", "Wx", "Ux", "bx"))
    units = len(ux)
    h = np.zeros(units)
    for x in words.astype(np.float64):
        gates = sigmoid(x @ w + b + h @ u)
        reset, update = gates[:units], gates[units:]
        proposal = np.tanh(x @ wx + bx + reset * (h @ ux))
        h = update * h + (1 - update) * proposal
    return h


def reference_vector(folder: Path, tokens: list[str]) -> NDArray[np.float64]:
    uni, bi = (dict(np.load(folder / name)) for name in ("uni_skip.npz", "bi_skip.npz"))
    rows = [WORDS.index(token) for token in tokens]
    uni_words, bi_words = np.load(folder / "utable.npy")[rows], np.load(folder / "btable.npy")[rows]
    uni_state = reference_gru(uni, "encoder", uni_words)
    bi_state = np.concatenate([reference_gru(bi, "encoder", bi_words), reference_gru(bi, "encoder_r", bi_words[::-1])])
    return np.concatenate([uni_state / np.linalg.norm(uni_state), bi_state / np.linalg.norm(bi_state)])


def test_vectors_equal_those_of_the_published_equations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skip_thoughts, "CHUNK_TOKENS", 5)  # so that texts are read in several chunks
    folder = write_kiros_files(tmp_path, uni=12, bi=5)
    vectors = SkipThoughts(folder).encode(TEXTS)
    assert vectors.shape == (len(TEXTS), TEXT_DIMENSIONS) and vectors.dtype == np.float32
    for vector, tokens in zip(vectors, TOKENS, strict=True):
        if tokens:
            np.testing.assert_allclose(vector[:22], reference_vector(folder, tokens), atol=1e-5)
            np.testing.assert_allclose(np.linalg.norm(vector), np.sqrt(2), rtol=1e-5)
        assert not vector[22 if tokens else 0 :].any()


def test_an_encoder_of_the_published_size_fills_a_clips_text(tmp_path: Path) -> None:
    folder = write_kiros_files(tmp_path, uni=2400, bi=1200, dim_word=3)
    vectors = SkipThoughts(folder).encode(TEXTS[:2])
    for vector, tokens in zip(vectors, TOKENS[:2], strict=True):
        np.testing.assert_allclose(vector, reference_vector(folder, tokens), atol=1e-5)
    assert np.count_nonzero(vectors) == 2 * 4800


def test_a_vector_does_not_depend_on_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = SkipThoughts(write_kiros_files(tmp_path))
    together = encoder.encode(TEXTS * 3)
    for limit in (1, 20):
        monkeypatch.setattr(skip_thoughts, "BATCH_TOKENS", limit)
        np.testing.assert_allclose(encoder.encode(TEXTS * 3), together, atol=1e-6)
    np.testing.assert_allclose(encoder.encode([TEXTS[2]])[0], together[2], atol=1e-6)
    assert encoder.encode([]).shape == (0, TEXT_DIMENSIONS)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    folder = write_kiros_files(tmp_path / "kiros")
    table = np.load(folder / "utable.npy")
    table[WORDS.index("know")] = np.nan
    np.save(folder / "utable.npy", table)
    encoder = SkipThoughts(folder)
    assert np.isfinite(encoder.encode(["I think."])).all()
    with pytest.raises(FormatError, match="not finite") as caught:
        encoder.encode(["I think.", "You know."])
    assert caught.value.path == folder


def test_the_name_identifies_the_weights_wherever_they_are(tmp_path: Path) -> None:
    original, moved, changed = (write_kiros_files(tmp_path / name) for name in ("original", "moved", "changed"))
    table = np.load(changed / "utable.npy")
    table[2, 0] += 1
    np.save(changed / "utable.npy", table)
    first, second, third = (encoder_by_name(f"skip-thoughts:{folder}") for folder in (original, moved, changed))
    assert first.name.startswith(f"skip-thoughts:{original}#") and is_same_encoder(first.name, second.name)
    assert not is_same_encoder(first.name, third.name)
    assert encoder_by_name(first.name).name == first.name
    fingerprint = first.name.rpartition("#")[2]
    with pytest.raises(ConfigError, match="these weights are not the ones that were used"):
        encoder_by_name(f"skip-thoughts:{changed}#{fingerprint}")


def test_another_process_opens_the_files_itself(tmp_path: Path) -> None:
    encoder = SkipThoughts(str(write_kiros_files(tmp_path)))
    sent = pickle.dumps(encoder)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent).encode(TEXTS), encoder.encode(TEXTS))


class _Import:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("made-by-a-pickle",)


@pytest.mark.parametrize("protocol", range(6))
def test_options_that_import_something_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write_kiros_files(tmp_path / "files")
    options = {"encoder": "gru", "dim_word": 7, "dim": 12, "extra": _Import()}
    (folder / "uni_skip.npz.pkl").write_bytes(pickle.dumps(options, protocol))
    with pytest.raises(FormatError, match=r"uni_skip.npz.pkl: refused: it uses the instruction"):
        SkipThoughts(folder)
    assert not Path("made-by-a-pickle").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "refused: it uses the instruction GLOBAL"),
        (b"(S'true'\nios\nsystem\n.", "refused: it uses the instruction INST"),
        (b"\x80\x02cbuiltins\nlist\n.", "refused: it uses the instruction GLOBAL"),
        (b"\x80\x02\x82\x01.", "refused: it uses the instruction EXT1"),
        (b"Psomething\n.", "refused: it uses the instruction PERSID"),
        (b"", "not an option file"),
        (b"(dp1\nS'encoder'\n", "not an option file"),
        (b"(dp999999999\n.", "not an option file, or damaged: it stores an object under number 999999999"),
        (b"I5\n.", "holds a int, not a dictionary"),
        (b"\x80\x02}N\x85q\x01" + b"h\x01\x85q\x01" * 9000 + b"K\x01s.", "refused: it repeats an object"),
        (b"\x80\x02}N" + b"\x85" * 9000 + b"K\x01s.", "refused: more than 4 dictionaries, lists or tuples"),
        (b"\x80\x02" + b"]" * 9000 + b".", "refused: it has more than 1000 dictionaries, lists and tuples"),
        (b"\x80\x02}U\x01a]]]]aaas.", "refused: more than 4 dictionaries, lists or tuples are inside one another"),
        (b"\x80\x02}N\x85K\x01s.", "refused: it has a key that is a tuple, not text"),
        (b"\x80\x02}U\x01a]q\x01(h\x01h\x01es.", "refused: it repeats an object"),
        (b"." * ((1 << 16) + 1), "larger than 64 kB"),
    ],
)
def test_bad_options_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "uni_skip.npz.pkl"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=reason):
        read_options(path)


def test_options_of_every_protocol_are_read(tmp_path: Path) -> None:
    path = tmp_path / "o.pkl"
    path.write_bytes(options_text(620, 2400))
    options = read_options(path)
    assert (options["encoder"], options["dim_word"], options["dim"]) == ("gru", 620, 2400)
    assert (options["decay_c"], options["reload_"], options["dictionary"]) == (0.0, False, "/a/b.pkl")
    for protocol in range(6):
        path.write_bytes(pickle.dumps(options, protocol))
        assert read_options(path) == options


def damage(folder: Path, fault: str) -> None:
    if fault == "options of another size":
        (folder / "uni_skip.npz.pkl").write_bytes(options_text(7, 13))
    elif fault == "no GRU":
        (folder / "bi_skip.npz.pkl").write_bytes(pickle.dumps({"encoder": "lstm", "dim": 5, "dim_word": 7}))
    elif fault == "no backward GRU":
        (folder / "bi_skip.npz").write_bytes((folder / "uni_skip.npz").read_bytes())
        (folder / "bi_skip.npz.pkl").write_bytes((folder / "uni_skip.npz.pkl").read_bytes())
    elif fault == "cut weights":
        (folder / "uni_skip.npz").write_bytes((folder / "uni_skip.npz").read_bytes()[:500])
    elif fault == "pickled weights":
        np.savez(folder / "uni_skip.npz", encoder_W=np.array([_Import()], dtype=object))
    elif fault == "short dictionary":
        (folder / "dictionary.txt").write_text("UNK\nI\n")
    elif fault == "no unknown":
        (folder / "dictionary.txt").write_text("I\n" * len(WORDS))
    elif fault == "other vectors":
        np.save(folder / "btable.npy", np.zeros((len(WORDS), 3), np.float32))
    else:
        (folder / fault).unlink()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("options of another size", r"uni_skip.npz: encoder_W is float32\[7, 24\], not floats \[7, 26\]"),
        ("no GRU", "its options do not describe a GRU"),
        ("no backward GRU", "encoder_r_W is missing"),
        ("cut weights", "not an archive of arrays, or damaged"),
        ("pickled weights", "not an archive of arrays, or damaged: Object arrays cannot be loaded"),
        ("short dictionary", r"utable.npy: is float32\[15, 7\], but the dictionary has 2 words"),
        ("no unknown", "has no entry UNK"),
        ("other vectors", "its vectors have 3 numbers, but the GRU of bi_skip.npz reads 7"),
        ("dictionary.txt", "not a dictionary"),
        ("utable.npy", "not found, so these are not the published skip-thoughts files"),
        ("uni_skip.npz", "not an archive"),
        ("bi_skip.npz.pkl", "cannot be read"),
    ],
)
def test_mismatched_files_are_named(tmp_path: Path, fault: str, reason: str) -> None:
    folder = write_kiros_files(tmp_path)
    damage(folder, fault)
    with pytest.raises(FormatError, match=reason):
        SkipThoughts(folder)


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="nowhere: no such folder"):
        encoder_by_name(f"skip-thoughts:{tmp_path / 'nowhere'}")


def test_vectors_longer_than_a_clips_text_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crnet.types.TEXT_DIMENSIONS", 21)
    with pytest.raises(ConfigError, match="its vectors have 22 numbers, but a clip's text holds at most 21"):
        SkipThoughts(write_kiros_files(tmp_path, uni=12, bi=5))
