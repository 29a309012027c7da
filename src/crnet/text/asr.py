"""Speech recognition for videos without a transcript: faster-whisper, enabled with `--asr MODEL`.

Needs the extra `crnet[asr]`. Recognised words may be wrong, so the clip keeps a warning that names the model.
"""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crnet.errors import ConfigError, MissingDependencyError
from crnet.text.transcripts import clean_transcript
from crnet.types import INT16_FULL_SCALE
from crnet.utils.extras import install_command

_log = logging.getLogger(__name__)


class SpeechRecogniser(Protocol):
    """Turns speech into text."""

    @property
    def name(self) -> str:
        """The name that settings and warnings show."""

    def transcribe(self, audio: NDArray[np.int16]) -> str:
        """Return the words in int16 mono sound at 16 kHz; "" if there are none."""


class FasterWhisper:
    """A Whisper model run by faster-whisper; the first call loads it.

    A voice detector (Silero, part of faster-whisper) finds the speech. Beam search at temperature 0 decodes it, so the
    same sound gives the same words on one machine.

    Args:
        model: A folder with a converted model, or a name such as `small.en`, which is downloaded from the Hugging Face
            hub if it is not on this machine.

    Raises:
        MissingDependencyError: faster-whisper is not installed.
    """

    def __init__(self, model: str | Path) -> None:
        if importlib.util.find_spec("faster_whisper") is None:
            raise MissingDependencyError(
                f"speech recognition (--asr {model}) needs the package faster-whisper",
                remedy=install_command("faster_whisper"),
            )
        folder = Path(model).expanduser()
        # Absolute, because loading happens later, perhaps from another working directory.
        self.model = str(folder.resolve()) if folder.is_dir() else str(model)
        # Only the folder's name: its place differs between machines.
        self.name = f"faster-whisper {folder.resolve().name if folder.is_dir() else model}"
        self._loaded: Any = None

    def load(self) -> None:
        """Load the model now instead of with the first sound.

        Raises:
            ConfigError: The model cannot be loaded.
        """
        if self._loaded is None:
            self._loaded = _load(self.model)

    def transcribe(self, audio: NDArray[np.int16]) -> str:
        """Return the words in int16 mono sound at 16 kHz; "" if there are none.

        Raises:
            ConfigError: The model cannot be loaded.
        """
        if not audio.size:
            return ""
        self.load()
        segments, _ = self._loaded.transcribe(
            audio.astype(np.float32) / INT16_FULL_SCALE,
            beam_size=5,
            temperature=0.0,
            condition_on_previous_text=False,
            vad_filter=True,
        )
        return clean_transcript(" ".join(segment.text.strip() for segment in segments))

    def __reduce__(self) -> tuple[Any, ...]:
        return FasterWhisper, (self.model,)  # each process loads the model itself


def recognition_warning(recogniser: SpeechRecogniser, words: str) -> str:
    """Return the warning for a clip whose words come from a recogniser."""
    if not words:
        return f"no transcript was given, and speech recognition ({recogniser.name}) found no words"
    return f"the words are from speech recognition ({recogniser.name}) and may be wrong"


def _load(model: str) -> Any:
    from faster_whisper import WhisperModel

    settings = {"device": "auto", "compute_type": "default"}
    folder = Path(model).expanduser()
    try:
        if folder.is_dir():
            return WhisperModel(str(folder), local_files_only=True, **settings)
        try:
            return WhisperModel(model, local_files_only=True, **settings)
        except (OSError, ValueError):
            _log.warning("the speech model %s is not on this machine: downloading it from the Hugging Face hub", model)
            return WhisperModel(model, **settings)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"not a speech model for faster-whisper: {' '.join(str(error).split())[:300]}",
            path=model,
            remedy="give the folder of a converted model, or a name such as small.en with access to the hub",
        ) from error
