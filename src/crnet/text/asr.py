"""Speech to text for videos without a transcript: faster-whisper, where it is asked for by `--asr MODEL`.

Needs the extra `crnet[asr]`. What it hears may be wrong, so a warning that names the model stays with the clip.
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

FULL_SCALE = 32768  # int16 sample of amplitude 1

_log = logging.getLogger(__name__)


class SpeechRecogniser(Protocol):
    """Writes down what is said."""

    @property
    def name(self) -> str:
        """What settings and warnings show."""

    def transcribe(self, audio: NDArray[np.int16]) -> str:
        """What is said in a clip's sound, "" if nothing is heard."""


class FasterWhisper:
    """A Whisper model run by faster-whisper; it is loaded when the first sound comes.

    Words are looked for where a voice is (Silero's detector, which comes with faster-whisper), by beam search at
    temperature 0: the same sound gives the same words on one machine.

    Args:
        model: A folder with a converted model, or a name such as `small.en`, which is downloaded from the Hugging Face
            hub unless it is there already.

    Raises:
        MissingDependencyError: faster-whisper is not installed.
    """

    def __init__(self, model: str) -> None:
        if importlib.util.find_spec("faster_whisper") is None:
            raise MissingDependencyError(
                f"speech recognition (--asr {model}) needs the package faster-whisper",
                remedy='pip install "crnet[asr]"',
            )
        folder = Path(model).expanduser()
        self.model = str(folder.resolve()) if folder.is_dir() else model  # it is loaded later, perhaps elsewhere
        # The folder's name alone: the place differs between machines.
        self.name = f"faster-whisper {folder.resolve().name if folder.is_dir() else model}"
        self._net: Any = None

    def load(self) -> None:
        """Load the model now and not with the first sound.

        Raises:
            ConfigError: It cannot be loaded.
        """
        if self._net is None:
            self._net = _load(self.model)

    def transcribe(self, audio: NDArray[np.int16]) -> str:
        """What is said in a clip's sound, "" if nothing is heard.

        Raises:
            ConfigError: The model cannot be loaded.
        """
        if not audio.size:
            return ""
        self.load()
        segments, _ = self._net.transcribe(
            audio.astype(np.float32) / FULL_SCALE,
            beam_size=5,
            temperature=0.0,
            condition_on_previous_text=False,
            vad_filter=True,
        )
        return clean_transcript(" ".join(segment.text.strip() for segment in segments))

    def __reduce__(self) -> tuple[Any, ...]:
        return FasterWhisper, (self.model,)  # each process loads the model itself


def heard_warning(recogniser: SpeechRecogniser, words: str) -> str:
    """What a user should know about a clip that a recogniser listened to."""
    if not words:
        return f"no transcript was given, and speech recognition ({recogniser.name}) heard no words"
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
            f"no speech model for faster-whisper: {' '.join(str(error).split())[:300]}",
            path=model,
            remedy="give the folder of a converted model, or a name such as small.en with access to the hub",
        ) from error
