"""Text encoder that runs a sentence-transformers model on OpenVINO, without PyTorch: `sentence-openvino:FOLDER`.

Needs the extra `crnet[sentence-openvino]`. The folder is that of a model whose publisher added the graph
`openvino/openvino_model.xml`, as `SentenceTransformer(..., backend="openvino")` writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from crnet.errors import ConfigError, FormatError, MissingDependencyError
from crnet.text.encoder_interface import (
    LONGEST_TEXT_CHARACTERS,
    EncoderName,
    check_fingerprint,
    check_finite,
    check_width,
)
from crnet.types import TEXT_DIMENSIONS
from crnet.utils.extras import install_command
from crnet.utils.files import read_json, sha256
from crnet.utils.openvino_runtime import compile_model, cpu_threads, read_graph, reason_of
from crnet.utils.resumable import short_fingerprint

if TYPE_CHECKING:
    from numpy.typing import NDArray

KIND = "sentence-openvino"
GRAPH_FILE, TOKENIZER_FILE = "openvino/openvino_model.xml", "tokenizer.json"
MAX_GRAPH_BYTES, MAX_WEIGHTS_BYTES, MAX_TOKENIZER_BYTES = 64 << 20, 16 << 30, 256 << 20
PARTS = ("Transformer", "Pooling", "Normalize")
"""The modules of a model that this encoder computes; vectors are scaled to length 1 with or without the last one."""
POOLINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "cls": lambda tokens: tokens[0],
    "mean": lambda tokens: tokens.mean(axis=0),
    "max": lambda tokens: tokens.max(axis=0),
}
"""How the vectors of the tokens [T, W] become one."""
OLD_POOLINGS = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean", "pooling_mode_max_tokens": "max"}
"""Names of the poolings before version 5.3 of sentence-transformers, where each is a truth value."""
INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})
USE_PYTORCH = "use sentence:FOLDER, which needs PyTorch, or another model"


class SentenceOpenVino:
    """Texts as vectors of a sentence-transformers model, scaled to length 1 and zero-padded to 4,800.

    A text beyond the model's longest input is ignored. The vectors are those of sentence-transformers but for rounding.
    Several threads can share an encoder.

    Args:
        folder: The folder of the model.
        fingerprint: Fingerprint that graph, tokens and settings must have; None accepts any.

    Raises:
        MissingDependencyError: The package tokenizers is not installed.
        FormatError: A file of the model is missing, damaged or too large.
        ConfigError: The model computes something that this encoder does not, the fingerprint is another, or its vectors
            are longer than 4,800.
    """

    def __init__(self, folder: str | Path, fingerprint: str | None = None) -> None:
        self._folder = Path(folder).expanduser().resolve()
        self._graph_file = self._folder / GRAPH_FILE
        settings = read_settings(self._folder)
        self._pool = POOLINGS[settings.pooling]
        self._tokenizer = _tokenizer(self._folder / TOKENIZER_FILE, settings)
        graph = read_graph(self._graph_file, MAX_GRAPH_BYTES, MAX_WEIGHTS_BYTES, USE_PYTORCH)
        self._inputs = {name for value in graph.inputs for name in value.get_names()}
        if unknown := self._inputs - INPUTS:
            raise ConfigError(f"its graph has an input {min(unknown)}", path=self._graph_file, remedy=USE_PYTORCH)
        self._fingerprint = self._hash(settings)
        self.name = str(EncoderName(KIND, str(self._folder), self._fingerprint))
        check_fingerprint(self.name, fingerprint)
        self._request = compile_model(graph, threads=cpu_threads()).create_infer_request()
        self._lock = Lock()  # a request works for one thread at a time, or one would read the results of another
        check_width(len(self._vector("a")), self._folder, "choose a smaller model")

    def _hash(self, settings: ModelSettings) -> str:
        """Return the fingerprint of everything that vectors depend on."""
        files = (self._graph_file, self._graph_file.with_suffix(".bin"), self._folder / TOKENIZER_FILE)
        return short_fingerprint({"files": [sha256(file) for file in files], "settings": asdict(settings)})

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 [n, 4800]; an empty text gives zeros."""
        vectors = np.zeros((len(texts), TEXT_DIMENSIONS), dtype=np.float32)
        for row, text in enumerate(texts):
            if text.strip():
                vector = self._vector(text[:LONGEST_TEXT_CHARACTERS])
                vectors[row, : len(vector)] = vector / max(float(np.linalg.norm(vector)), 1e-12)
        check_finite(vectors, self._folder)
        return vectors

    def _vector(self, text: str) -> NDArray[np.float32]:
        """Return the pooled vector of a text."""
        encoded = self._tokenizer.encode(text)
        arrays = {"input_ids": encoded.ids, "attention_mask": encoded.attention_mask,
                  "token_type_ids": encoded.type_ids}  # fmt: skip
        inputs = {name: np.array([arrays[name]], dtype=np.int64) for name in self._inputs}
        with self._lock:
            return self._pooled(inputs)

    def _pooled(self, inputs: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        try:
            self._request.infer(inputs, share_inputs=True)  # with a copy, a wrong shape would not be noticed
        except RuntimeError as error:
            reason = f"its graph cannot be computed: {reason_of(error)}"
            raise FormatError(reason, path=self._graph_file, remedy=USE_PYTORCH) from error
        tokens = self._request.get_output_tensor(0).data
        if tokens.ndim != 3:
            reason = "its graph does not return a vector for each token"
            raise ConfigError(reason, path=self._graph_file, remedy=USE_PYTORCH)
        return np.array(self._pool(tokens[0]), dtype=np.float32)  # a copy: the next text overwrites the tokens

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process loads the model itself and checks that it is the same.
        return SentenceOpenVino, (str(self._folder), self._fingerprint)


@dataclass(frozen=True)
class ModelSettings:
    """What the files of a sentence-transformers model say about tokens and pooling.

    Attributes:
        pooling: How the vectors of the tokens become one; see `POOLINGS`.
        longest_tokens: Length of the longest input, with the tokens that mark its ends.
        lower_case: Whether texts are turned into small letters first.
    """

    pooling: str
    longest_tokens: int
    lower_case: bool


def read_settings(folder: Path) -> ModelSettings:
    """Read the settings of a model.

    Raises:
        FormatError: A file is missing or damaged.
        ConfigError: The model has a part, a pooling or a prompt that this encoder does not compute.
    """
    if not (folder / GRAPH_FILE).is_file():
        reason = f"there is no {GRAPH_FILE}"
        raise FormatError(reason, path=folder, remedy="get a model that has one, or use sentence:FOLDER")
    modules = read_json(folder / "modules.json", "a model of sentence-transformers")
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise FormatError("not a model of sentence-transformers", path=folder / "modules.json")
    kinds = tuple(str(module.get("type", "")).rpartition(".")[2] for module in modules)
    if kinds not in (PARTS, PARTS[:2]):
        raise ConfigError(f"the model is made of {', '.join(kinds)}", path=folder, remedy=USE_PYTORCH)
    prompt = _options(folder / "config_sentence_transformers.json").get("default_prompt_name")
    if prompt:
        raise ConfigError(f"the model puts its prompt {prompt!r} before texts", path=folder, remedy=USE_PYTORCH)
    pooling = _pooling(folder / Path(str(modules[1].get("path"))).name / "config.json")
    options = _options(folder / "sentence_bert_config.json")
    return ModelSettings(pooling, _longest_tokens(folder, options), bool(options.get("do_lower_case")))


def _options(path: Path) -> dict[str, Any]:
    """Read an optional file of the model."""
    options = read_json(path, "a model of sentence-transformers") if path.is_file() else {}
    if not isinstance(options, dict):
        raise FormatError("not a file of a model of sentence-transformers", path=path)
    return options


def _pooling(path: Path) -> str:
    """Return how the vectors of the tokens become one.

    Raises:
        ConfigError: In another way, or in several.
    """
    options = _options(path)
    stated = options.get("pooling_mode") or [
        OLD_POOLINGS.get(name, name)
        for name, is_used in options.items()
        if name.startswith("pooling_mode_") and is_used
    ]
    modes = [stated] if isinstance(stated, str) else list(stated)
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise ConfigError(f"its pooling is {' and '.join(map(str, modes)) or 'unknown'}", path=path, remedy=USE_PYTORCH)
    return str(modes[0])


def _longest_tokens(folder: Path, options: dict[str, Any]) -> int:
    """Return the length of the longest input, as sentence-transformers finds it.

    Raises:
        ConfigError: No file states it.
    """
    stated = [options.get("max_seq_length")]
    if stated == [None]:
        stated = [_options(folder / "tokenizer_config.json").get("model_max_length"),
                  _options(folder / "config.json").get("max_position_embeddings")]  # fmt: skip
    # A tokenizer without a limit states 1e30.
    limits = [int(limit) for limit in stated if isinstance(limit, int | float) and 0 < limit <= LONGEST_TEXT_CHARACTERS]
    if not limits:
        raise ConfigError("the model does not state its longest input", path=folder, remedy=USE_PYTORCH)
    return min(limits)


def _tokenizer(path: Path, settings: ModelSettings) -> Any:
    """Load the tokenizer, which cuts off texts that are too long and pads none."""
    try:
        from tokenizers import Tokenizer, normalizers
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"the encoder {KIND} needs {error.name}", remedy=install_command("tokenizers")
        ) from error
    if path.is_file() and path.stat().st_size > MAX_TOKENIZER_BYTES:
        raise FormatError("too large for a tokenizer", path=path)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises no narrower class
        raise FormatError(f"not a tokenizer: {str(error)[:200]}", path=path, remedy="copy the model again") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(settings.longest_tokens)
    if settings.lower_case:
        others = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
        tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *others])
    return tokenizer
