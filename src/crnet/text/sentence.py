"""Transcripts as vectors of any sentence-transformers model: `sentence:FOLDER` or `sentence:NAME`.

Needs the extra `crnet[sentence]`. A model's vector (384 to 4,096 numbers, of length 1) stands at the beginning of the
4,800 places of a clip's text; the rest is zeros.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnet.errors import ConfigError, MissingDependencyError
from crnet.text.encoders import LONGEST_TEXT_CHARACTERS, content_name, encoder_by_name
from crnet.types import TEXT_DIMENSIONS

KIND = "sentence"
TEXTS_AT_ONCE = 32
PACKAGE, SAFE_MAJOR = "the package sentence-transformers", 6
INSTALL = 'pip install "crnet[sentence]"'

_log = logging.getLogger(__name__)


class SentenceEncoder:
    """Texts as vectors of a sentence-transformers model, scaled to length 1 and filled up with zeros to 4,800.

    What of a text exceeds the model's longest input (256 or 512 word pieces, mostly) does not count.

    Args:
        model: A folder, or a name on the Hugging Face hub, which is downloaded unless it is there already.

    Raises:
        MissingDependencyError: sentence-transformers is not installed.
        ConfigError: There is no such model, it runs code of its own, or its vectors are longer than 4,800.
    """

    def __init__(self, model: str) -> None:
        self._net = _load(model)
        width = len(self._net.encode(["a"], show_progress_bar=False)[0])
        if width > TEXT_DIMENSIONS:
            raise ConfigError(
                f"its vectors have {width} numbers, a clip's text at most {TEXT_DIMENSIONS}",
                path=model,
                remedy="choose a smaller model",
            )
        folder = Path(model).expanduser()
        place = str(folder.resolve()) if folder.is_dir() else model
        self.name = content_name(KIND, place, _digest(self._net))

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Float32 [n, 4800]; an empty text is all zeros."""
        vectors = np.zeros((len(texts), TEXT_DIMENSIONS), dtype=np.float32)
        said = [number for number, text in enumerate(texts) if text.strip()]
        if said:
            found = self._net.encode(
                [texts[number][:LONGEST_TEXT_CHARACTERS] for number in said],
                batch_size=TEXTS_AT_ONCE,
                normalize_embeddings=True,
                show_progress_bar=False,
            )
            vectors[said, : found.shape[1]] = found
        return vectors

    def __reduce__(self) -> tuple[Any, ...]:
        return encoder_by_name, (self.name,)  # each process loads the model itself, and finds that it is the same


def _load(model: str) -> Any:
    try:
        from sentence_transformers import SentenceTransformer, __version__
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"the encoder {KIND}:{model} needs {PACKAGE}", remedy=INSTALL) from error
    if int(__version__.split(".")[0]) < SAFE_MAJOR:
        # Older ones import whatever Python a local model's folder names.
        reason = f"the encoder {KIND}:{model} needs {PACKAGE} {SAFE_MAJOR} or newer, here is {__version__}"
        raise MissingDependencyError(reason, remedy=INSTALL)
    folder = Path(model).expanduser()
    # No code from the model's folder is run, and no pickled weights are read.
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
            f"no sentence-transformers model: {' '.join(str(error).split())[:300]}",
            path=model,
            remedy="give the folder of one with weights as safetensors, or its name on the hub",
        ) from error


def _digest(net: Any) -> str:
    """Of all weights, by name: the same model from a folder and from the hub has the same."""
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().float().numpy().tobytes())
    return digest.hexdigest()[:16]
