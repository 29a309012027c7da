"""A small binding to eSpeak NG, the speech synthesiser in the package `espeakng-loader`, a shared library.

eSpeak NG is licensed under the GPL, version 3 or later. It is not part of this project; it is loaded at run time if it
is installed.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnet.errors import MissingDependencyError
from crnet.types import INT16_FULL_SCALE

PACKAGE = "espeakng_loader"
RATE_HZ = 22_050  # sample rate of the library's voices
MAX_DATA_PATH = 130  # the library truncates paths of its data files at 160 bytes

# Constants of the library's public header, speak_lib.h.
_SYNCHRONOUS, _UTF8, _BY_CHARACTER, _DONE = 2, 1, 1, 0
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_END_OF_EVENTS, _WORD = 0, 1
_BUFFER_MS = 200

VOLUME = 60  # of 100; louder voices clip
MIN_WPM, MAX_WPM = 80, 450
MAX_PITCH = MAX_RANGE = 99

_lock = threading.Lock()  # the library keeps its state in global variables


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("utterance", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_ms", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True, eq=False)
class Utterance:
    """A spoken text.

    Attributes:
        wave: float64 [n] in [-1, 1] at `RATE_HZ`.
        word_starts: Samples at which the words begin, ascending.
    """

    wave: NDArray[np.float64]
    word_starts: tuple[int, ...]


def is_installed() -> bool:
    """Return whether the synthesiser is installed."""
    return importlib.util.find_spec(PACKAGE) is not None


class Synthesiser:
    """The loaded library, set to one voice; `open_synthesiser` returns it."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._pieces: list[NDArray[np.int16]] = []
        self._word_starts: list[int] = []
        self._callback = _Callback(self._receive)  # keeps the callback alive while the library may call it
        library.espeak_SetSynthCallback(self._callback)
        library.espeak_SetParameter(_VOLUME, VOLUME, 0)

    def synthesise(self, text: str, words_per_minute: float, pitch: float, pitch_range: float) -> Utterance:
        """Speak a text.

        Args:
            text: Any text.
            words_per_minute: Speed; it is limited to `MIN_WPM` to `MAX_WPM`.
            pitch: 0 to 99; 50 is the voice's normal pitch, and 50 more is an octave higher.
            pitch_range: 0 to 99, the range of the melody; 0 is monotonous.
        """
        set_parameter = self._library.espeak_SetParameter
        set_parameter(_RATE, round(min(max(words_per_minute, MIN_WPM), MAX_WPM)), 0)
        set_parameter(_PITCH, round(min(max(pitch, 0), MAX_PITCH)), 0)
        set_parameter(_RANGE, round(min(max(pitch_range, 0), MAX_RANGE)), 0)
        self._pieces, self._word_starts = [], []
        data = text.replace("\0", " ").encode()
        size = ctypes.c_size_t(len(data) + 1)
        if self._library.espeak_Synth(data, size, 0, _BY_CHARACTER, 0, _UTF8, None, None) != _DONE:
            raise RuntimeError("eSpeak NG refused a text")
        wave = np.concatenate([np.zeros(0, np.int16), *self._pieces]) / INT16_FULL_SCALE
        starts = sorted({min(start, len(wave)) for start in self._word_starts})
        return Utterance(wave, tuple(starts))

    def _receive(self, samples: Any, count: int, events: Any) -> int:
        index = 0
        while events[index].type != _END_OF_EVENTS:
            if events[index].type == _WORD:
                self._word_starts.append(events[index].sample)
            index += 1
        if count > 0:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0  # continue


@contextmanager
def open_synthesiser(voice: str, seed: int) -> Iterator[Synthesiser]:
    """Open the synthesiser in a fresh state, so that earlier texts do not change the samples.

    Args:
        voice: Name of one of the library's voices, such as "en-us+f3".
        seed: Random seed of its noise.

    Raises:
        MissingDependencyError: The package is not installed, or its library cannot be loaded.
    """
    with _lock:
        library = _load()
        try:
            with _data_folder() as data:
                if library.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, data.encode(), 0) != RATE_HZ:
                    raise _broken("it cannot find its data")
                if library.espeak_SetVoiceByName(voice.encode()) != _DONE:
                    raise _broken(f"it has no voice {voice}")
                library.espeak_ng_SetRandSeed(ctypes.c_long(seed & 0x7FFFFFFF))
                yield Synthesiser(library)
        finally:
            library.espeak_Terminate()
            _unload(library)


def _load() -> Any:
    try:
        import espeakng_loader
    except ImportError as error:
        raise MissingDependencyError(
            "the speech synthesiser is not installed", remedy=f"pip install {PACKAGE.replace('_', '-')}"
        ) from error
    try:
        return ctypes.CDLL(espeakng_loader.get_library_path())
    except OSError as error:
        raise _broken(str(error)) from error


def _broken(reason: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"the speech synthesiser does not work: {reason}", remedy="use the built-in voice (--voice built-in)"
    )


def _unload(library: Any) -> None:
    """Unload the library; nothing else resets the phase of its flutter, which it keeps between texts."""
    if sys.platform != "win32":
        import _ctypes

        _ctypes.dlclose(library._handle)


@contextmanager
def _data_folder() -> Iterator[str]:
    """Yield a path of the library's data that is short enough for the library."""
    import espeakng_loader

    path = espeakng_loader.get_data_path()
    if len(path.encode()) <= MAX_DATA_PATH:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="espeak-") as folder:
        link = Path(folder) / "espeak-ng-data"
        link.symlink_to(path, target_is_directory=True)
        yield str(link)
