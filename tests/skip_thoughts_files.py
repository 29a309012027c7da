"""Write small files in the format of the published skip-thoughts encoder, as Python 2 wrote them."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

WORDS = ["<eos>", "UNK", "I", "you", "do", "n't", "know", "think", "what", ".", "?", ",", "Really", "'s", "it"]


class _Python2Pickler(pickle._Pickler):
    """Writes protocol 2 like Python 2: bytes are strings, and NumPy's modules have their old names."""

    dispatch: ClassVar[dict[type, object]] = dict(pickle._Pickler.dispatch)

    def save_bytes(self, content: bytes) -> None:
        short = len(content) < 256
        self.write(b"U" + bytes([len(content)]) if short else b"T" + len(content).to_bytes(4, "little"))
        self.write(content)
        self.memoize(content)

    def save_text(self, text: str) -> None:
        self.save_bytes(text.encode("latin1"))

    def save_global(self, function: object, name: str | None = None) -> None:
        module = function.__module__.replace("numpy._core", "numpy.core")
        self.write(b"c" + f"{module}\n{function.__name__}\n".encode())  # type: ignore[attr-defined]
        self.memoize(function)

    dispatch[bytes] = save_bytes
    dispatch[str] = save_text
    dispatch[type(np._core.multiarray._reconstruct)] = save_global  # type: ignore[attr-defined]
    dispatch[type] = save_global


def python2_pickle(value: object) -> bytes:
    file = io.BytesIO()
    _Python2Pickler(file, protocol=2).dump(value)
    return file.getvalue()


def write_object_table(path: Path, table: NDArray[np.float32]) -> None:
    """Write an array of arrays like `numpy.save` under Python 2."""
    rows = np.empty(len(table), dtype=object)
    rows[:] = list(table)
    with path.open("wb") as file:
        npy.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": rows.shape})
        file.write(python2_pickle(rows))


def options_text(dim_word: int, dim: int) -> bytes:
    """Return an option file like cPickle's protocol 0: plain text."""
    return (
        "(dp1\nS'encoder'\np2\nS'gru'\np3\nsS'decoder'\np4\ng3\nsS'dim_word'\np5\n"
        f"I{dim_word}\nsS'dim'\np6\nI{dim}\nsS'n_words'\np7\nI20000\nsS'decay_c'\np8\nF0\nsS'reload_'\np9\nI00\n"
        "sS'dictionary'\np10\nS'/a/b.pkl'\np11\ns."
    ).encode()


def random_gru(rng: np.random.Generator, prefix: str, words: int, units: int) -> dict[str, NDArray[np.float32]]:
    shapes = {
        "W": (words, 2 * units), "U": (units, 2 * units), "b": (2 * units,),
        "Wx": (words, units), "Ux": (units, units), "bx": (units,),
    }  # fmt: skip
    # Recurrent weights are as large as orthogonal ones: larger ones make the states chaotic and amplify rounding.
    scales = {"U": units**-0.5, "Ux": units**-0.5}
    return {
        f"{prefix}_{name}": rng.standard_normal(shape, dtype=np.float32) * np.float32(scales.get(name, 0.5))
        for name, shape in shapes.items()
    }


def write_kiros_files(folder: Path, *, uni: int = 12, bi: int = 5, dim_word: int = 7, objects: bool = False) -> Path:
    """Write all seven files with random numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(4)
    (folder / "dictionary.txt").write_bytes("".join(f"{word}\n" for word in WORDS).encode())
    for name in ("utable.npy", "btable.npy"):
        table = rng.normal(size=(len(WORDS), dim_word)).astype(np.float32)
        write_object_table(folder / name, table) if objects else np.save(folder / name, table)
    uni_arrays = {"Wemb": np.zeros((2, 2), np.float32), **random_gru(rng, "encoder", dim_word, uni)}
    bi_arrays = {**random_gru(rng, "encoder", dim_word, bi), **random_gru(rng, "encoder_r", dim_word, bi)}
    for name, arrays, units in (("uni_skip.npz", uni_arrays, uni), ("bi_skip.npz", bi_arrays, bi)):
        np.savez(folder / name, history_errs=np.array([]), **arrays)
        (folder / f"{name}.pkl").write_bytes(options_text(dim_word, units))
    return folder
