"""Text encoder that uses any sentence-transformers model: `sentence:FOLDER` or `sentence:NAME`.

Needs the extra `crnet[sentence]`. A model's vector (384 to 4,096 numbers, of length 1) fills the first of the 4,800
positions of a clip's text; the rest is zero-padded.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnet.errors import ConfigError, MissingDependencyError
from crnet.text.encoder_interface import (
    LONGEST_TEXT_CHARACTERS,
    EncoderName,
    check_fingerprint,
    check_finite,
    check_width,
)
from crnet.types import TEXT_DIMENSIONS
from crnet.utils.extras import install_command
from crnet.utils.resumable import SHORT_DIGITS, content_fingerprint

KIND = "sentence"
BATCH_TEXTS = 32
PACKAGE, OLDEST_SAFE_MAJOR = "the package sentence-transformers", 6
INSTALL = install_command("sentence_transformers")

_log = logging.getLogger(__name__)


class SentenceEncoder:
    """Texts as vectors of a sentence-transformers model, scaled to length 1 and zero-padded to 4,800.

    Most models ignore the part of a text beyond their longest input (256 or 512 word pieces).

    Args:
        model: A folder, or a name on the Hugging Face hub, which is downloaded if it is not on this machine.
        fingerprint: Fingerprint that the weights must have; None accepts any weights.

    Raises:
        MissingDependencyError: sentence-transformers is not installed.
        ConfigError: The model does not exist, its weights do not have the fingerprint, or its vectors are longer than
            4,800.
    """

    def __init__(self, model: str | Path, fingerprint: str | None = None) -> None:
        self._model = _load(str(model))
        width = len(self._model.encode(["a"], show_progress_bar=False)[0])
        check_width(width, model, "choose a smaller model")
        folder = Path(model).expanduser()
        self._place = str(folder.resolve()) if folder.is_dir() else str(model)
        self._fingerprint = _fingerprint(self._model)
        self.name = str(EncoderName(KIND, self._place, self._fingerprint))
        check_fingerprint(self.name, fingerprint)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 [n, 4800]; an empty text gives zeros."""
        vectors = np.zeros((len(texts), TEXT_DIMENSIONS), dtype=np.float32)
        rows = [row for row, text in enumerate(texts) if text.strip()]
        if rows:
            encoded = self._model.encode(
                [texts[row][:LONGEST_TEXT_CHARACTERS] for row in rows],
                batch_size=BATCH_TEXTS,
                normalize_embeddings=True,
                show_progress_bar=False,
            )
            vectors[rows, : encoded.shape[1]] = encoded
        check_finite(vectors, self._place)
        return vectors

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process loads the model itself and checks that the weights are the same.
        return SentenceEncoder, (self._place, self._fingerprint)


def _load(model: str) -> Any:
    try:
        from sentence_transformers import SentenceTransformer, __version__
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"the encoder {KIND}:{model} needs {PACKAGE}", remedy=INSTALL) from error
    if int(__version__.split(".")[0]) < OLDEST_SAFE_MAJOR:
        # Older versions import any Python module that a local model's folder names.
        reason = f"the encoder {KIND}:{model} needs {PACKAGE} {OLDEST_SAFE_MAJOR} or newer, not {__version__}"
        raise MissingDependencyError(reason, remedy=INSTALL)
    folder = Path(model).expanduser()
    # Run no code from the model's folder and read no pickled weights.
    settings: dict[str, Any] = {
        "device": "cpu",
        "trust_remote_code": False,
        "model_kwargs": {"use_safetensors": True},
    }
    try:
        if folder.is_dir():
            return SentenceTransformer(str(folder), local_files_only=True, **settings).eval()
        try:
            return SentenceTransformer(model, local_files_only=True, **settings).eval()
        except (OSError, ValueError):
            _log.warning("the text encoder %s is not on this machine: downloading it from the Hugging Face hub", model)
            return SentenceTransformer(model, **settings).eval()
    except (OSError, ValueError, RuntimeError, ImportError, KeyError) as error:
        raise ConfigError(
            f"not a sentence-transformers model: {' '.join(str(error).split())[:300]}",
            path=model,
            remedy="give the folder of a model with safetensors weights, or its name on the hub",
        ) from error


def _fingerprint(model: Any) -> str:
    """Hash all weights in the order of their names, so that a folder and the hub give the same fingerprint."""

    def parts() -> Iterator[bytes]:
        for name, tensor in sorted(model.state_dict().items()):
            yield f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode()
            yield tensor.detach().cpu().contiguous().float().numpy().tobytes()

    return content_fingerprint(parts())[:SHORT_DIGITS]
