"""When each word is said, and what the scores would be without it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import ArrayLike, NDArray

from crnet.fusion.fusion import system_scores
from crnet.predict import Predictor
from crnet.text.base import LONGEST_TEXT_CHARACTERS
from crnet.text.transcripts import Cue
from crnet.types import SAMPLE_RATE_HZ, TARGETS, Batch, Stream
from crnet.utils.progress import Progress, no_progress

LOOK_S = 0.02  # sound is judged voiced or not in pieces of so much
VOICED_BELOW_LOUD_DB = 25.0  # a piece this much quieter than the loud ones is a pause
QUIETEST_DB = -55.0  # of full scale; nothing quieter is speech
LOUD_PERCENTILE = 95.0
MOST_OCCLUSIONS = 60  # of a longer transcript, several words are taken out at a time
FEWEST_OCCLUSIONS = 12
MOST_CHARACTERS = 1_500_000  # encoded in all; texts of more than half an hour of speech are cut into fewer parts
OCCLUSION_BATCH = 8


@dataclass(frozen=True)
class Word:
    """A word, or a few of a long transcript, and when it is said.

    Attributes:
        text: As in the transcript.
        start_s, end_s: Seconds from the beginning.
        timed: True if the times come from subtitles and are only guessed within a line; False if all is guessed.
    """

    text: str
    start_s: float
    end_s: float
    timed: bool


@dataclass(frozen=True)
class WordEffect:
    """What some words bring to a score: the fused score of each target with them, less the one without them."""

    words: tuple[Word, ...]
    effect: Mapping[str, float]

    @property
    def text(self) -> str:
        """The words."""
        return " ".join(word.text for word in self.words)


def align(transcript: str, cues: Sequence[Cue], audio: NDArray[np.int16], duration_s: float) -> tuple[Word, ...]:
    """Say roughly when each word is said.

    With subtitles, the words of a line share its time by their length. Without, all words share the voiced parts of
    the sound by their length, or the whole time where there is no voice. Speech recognisers align better; this needs
    none.

    Args:
        transcript: What is said.
        cues: The subtitles it comes from, if it does.
        audio: int16 [n] at 16 kHz.
        duration_s: Length of the clip.
    """
    if cues:
        said = (word for cue in cues for word in _shared(cue.text.split(), [(cue.start_s, cue.end_s)], timed=True))
        # As much as the encoders read; subtitle files may hold more.
        return tuple(islice(said, LONGEST_TEXT_CHARACTERS // 2))
    return tuple(_shared(transcript.split(), voiced_parts(audio) or [(0.0, duration_s)], timed=False))


def voiced_parts(audio: NDArray[np.int16]) -> list[tuple[float, float]]:
    """Start and end, in seconds, of the stretches in which somebody may be speaking, by loudness alone."""
    piece = round(LOOK_S * SAMPLE_RATE_HZ)
    pieces = audio[: len(audio) // piece * piece].reshape(-1, piece).astype(np.float64) / 32_768
    if not len(pieces):
        return []
    level_db = 10 * np.log10(np.square(pieces).mean(axis=1) + 1e-12)
    voiced = level_db > max(np.percentile(level_db, LOUD_PERCENTILE) - VOICED_BELOW_LOUD_DB, QUIETEST_DB)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], voiced.astype(int), [0]]))).reshape(-1, 2)
    return [(float(start * LOOK_S), float(end * LOOK_S)) for start, end in edges]


def _shared(words: Sequence[str], parts: Sequence[tuple[float, float]], *, timed: bool) -> Iterator[Word]:
    """Give the words, one after the other, times within the parts in proportion to their letters."""
    lengths = np.array([len(word) + 1 for word in words], dtype=np.float64)
    bounds = np.concatenate([[0.0], np.cumsum(lengths)]) / max(lengths.sum(), 1)
    spans = np.array([end - start for start, end in parts])
    before = np.concatenate([[0.0], np.cumsum(spans)])
    total = before[-1]

    def at(share: float, side: str) -> float:
        part = int(np.clip(np.searchsorted(before, share * total, side=side) - 1, 0, len(parts) - 1))  # type: ignore[call-overload]
        return float(parts[part][0] + share * total - before[part])

    for word, start, end in zip(words, bounds[:-1], bounds[1:], strict=True):
        # A word that begins where a part ends begins with the next part.
        yield Word(word, at(start, "right"), at(end, "left"), timed)


def occlude(
    predictor: Predictor,
    batch: Batch,
    features: Mapping[Stream, ArrayLike],
    words: Sequence[Word],
    progress: Progress = no_progress,
) -> tuple[WordEffect, ...]:
    """Leave out each word in turn, encode the rest anew, and see how the fused scores change.

    Args:
        predictor: The system.
        batch: The clip, one row.
        features: [1, 6, F] of each of its streams.
        words: The transcript.
        progress: Told after every batch.

    Returns:
        One entry for each word, or for each few neighbouring words of a long transcript; none where the system does
        not read.
    """
    if "audio-text" not in predictor.bundle.nets or predictor.bundle.config.model.audio_text == "audio" or not words:
        return ()
    whole = " ".join(word.text for word in words)
    parts = int(np.clip(MOST_CHARACTERS // max(len(whole), 1), FEWEST_OCCLUSIONS, MOST_OCCLUSIONS))
    at_once = -(-len(words) // parts)
    groups = [tuple(words[start : start + at_once]) for start in range(0, len(words), at_once)]
    rest = [" ".join(w.text for group in (*groups[:i], *groups[i + 1 :]) for w in group) for i in range(len(groups))]
    vectors = torch.from_numpy(predictor.encoder.encode([whole, *rest]))
    net = predictor.bundle.nets["audio-text"]
    device = next(net.parameters()).device
    assert batch.audio is not None  # noqa: S101  (a system with this stream was given its sound)
    changed = []
    with torch.inference_mode():
        for start in range(0, len(vectors), OCCLUSION_BATCH):
            part = vectors[start : start + OCCLUSION_BATCH]
            given = Batch(("",) * len(part), audio=batch.audio.expand(len(part), -1), text=part)
            changed.append(net(given.to(device)).features.float().cpu().numpy())
            progress("leaving words out", min(start + OCCLUSION_BATCH, len(vectors)), len(vectors))
    repeated = {s: np.repeat(np.asarray(values), len(vectors), axis=0) for s, values in features.items()}
    repeated["audio-text"] = np.concatenate(changed)
    fused, _ = system_scores(predictor.bundle.fusion, repeated, {})
    effects: Float64[np.ndarray, "n 6"] = fused[0] - fused[1:]
    return tuple(
        WordEffect(group, dict(zip(TARGETS, effect.tolist(), strict=True)))
        for group, effect in zip(groups, effects, strict=True)
    )
