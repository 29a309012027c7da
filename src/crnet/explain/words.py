"""When each word is spoken, and its effect on the scores.

The effect of a word is found by occlusion: leave it out, encode the remaining text, predict. captum's `Occlusion` masks
parts of a tensor and cannot re-encode a text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from jaxtyping import Float32, Float64
from numpy.typing import ArrayLike, NDArray

from crnet.fusion.fusion import system_scores
from crnet.predict import Predictor
from crnet.text.encoder_interface import LONGEST_TEXT_CHARACTERS
from crnet.text.subtitles import Cue
from crnet.types import INT16_FULL_SCALE, SAMPLE_RATE_HZ, TARGETS, Batch, Stream
from crnet.utils.progress import Progress, no_progress

CHUNK_S = 0.02  # voice activity is judged in chunks of this length
VOICED_BELOW_LOUD_DB = 25.0  # a chunk this much quieter than the loud ones is a pause
QUIETEST_DB = -55.0  # of full scale; nothing quieter is speech
LOUD_PERCENTILE = 95.0
MOST_OCCLUSIONS = 60  # in a longer transcript, several words are left out at a time
FEWEST_OCCLUSIONS = 12
MOST_CHARACTERS = 1_500_000  # encoded in total; texts of more than half an hour of speech are cut into fewer parts
OCCLUSION_BATCH = 8


@dataclass(frozen=True)
class Word:
    """A word and the time when it is spoken.

    Attributes:
        text: The word as the transcript writes it.
        start_s, end_s: Seconds from the beginning of the clip.
        timed: True if the times come from subtitles and are estimated only within a line; False if they are estimated
            altogether.
    """

    text: str
    start_s: float
    end_s: float
    timed: bool


@dataclass(frozen=True)
class WordEffect:
    """The effect of one or more neighbouring words: fused scores with them minus fused scores without them."""

    words: tuple[Word, ...]
    effect: Mapping[str, float]

    @property
    def text(self) -> str:
        """The words as text."""
        return " ".join(word.text for word in self.words)


def align(transcript: str, cues: Sequence[Cue], audio: NDArray[np.int16], duration_s: float) -> tuple[Word, ...]:
    """Estimate when each word is spoken.

    With subtitles, the words of a line share its time in proportion to their length. Without subtitles, all words share
    the voiced parts of the sound, or the whole clip if there is no voice. Speech recognisers align better; this needs
    none.

    Args:
        transcript: The spoken words.
        cues: The subtitles that the transcript comes from, if any.
        audio: int16 [n] at 16 kHz.
        duration_s: Length of the clip.
    """
    if cues:
        words = (word for cue in cues for word in _spread(cue.text.split(), [(cue.start_s, cue.end_s)], timed=True))
        # Subtitle files may hold more than the encoders read.
        return tuple(islice(words, LONGEST_TEXT_CHARACTERS // 2))
    return tuple(_spread(transcript.split(), voiced_parts(audio) or [(0.0, duration_s)], timed=False))


def voiced_parts(audio: NDArray[np.int16]) -> list[tuple[float, float]]:
    """Return start and end, in seconds, of the parts loud enough to be speech."""
    size = round(CHUNK_S * SAMPLE_RATE_HZ)
    chunks = audio[: len(audio) // size * size].reshape(-1, size).astype(np.float64) / INT16_FULL_SCALE
    if not len(chunks):
        return []
    level_db = 10 * np.log10(np.square(chunks).mean(axis=1) + 1e-12)
    voiced = level_db > max(np.percentile(level_db, LOUD_PERCENTILE) - VOICED_BELOW_LOUD_DB, QUIETEST_DB)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], voiced.astype(int), [0]]))).reshape(-1, 2)
    return [(float(start * CHUNK_S), float(end * CHUNK_S)) for start, end in edges]


def _spread(words: Sequence[str], parts: Sequence[tuple[float, float]], *, timed: bool) -> Iterator[Word]:
    """Place the words one after the other within the parts, in proportion to their number of letters."""
    lengths = np.array([len(word) + 1 for word in words], dtype=np.float64)
    bounds = np.concatenate([[0.0], np.cumsum(lengths)]) / max(lengths.sum(), 1)
    durations = np.array([end - start for start, end in parts])
    elapsed = np.concatenate([[0.0], np.cumsum(durations)])
    total = elapsed[-1]

    def time_s(share: float, side: str) -> float:
        part = int(np.clip(np.searchsorted(elapsed, share * total, side=side) - 1, 0, len(parts) - 1))  # type: ignore[call-overload]
        return float(parts[part][0] + share * total - elapsed[part])

    for word, start, end in zip(words, bounds[:-1], bounds[1:], strict=True):
        # A word that begins where a part ends begins with the next part.
        yield Word(word, time_s(start, "right"), time_s(end, "left"), timed)


def occlude(
    predictor: Predictor,
    batch: Batch,
    features: Mapping[Stream, ArrayLike],
    stream_scores: Mapping[Stream, ArrayLike],
    words: Sequence[Word],
    progress: Progress = no_progress,
) -> tuple[WordEffect, ...]:
    """Measure how the fused scores change when each word is left out and the remaining text is encoded again.

    Args:
        predictor: The trained system.
        batch: The clip, one row.
        features: [1, 6, F] for each of its streams.
        stream_scores: [1, 6] for each of them, as its network returns them.
        words: The transcript.
        progress: Called after every batch.

    Returns:
        One entry for each word, or for each group of neighbouring words in a long transcript; nothing if the system
        does not read text.
    """
    if (
        "audio-text" not in predictor.bundle.networks
        or predictor.bundle.config.model.audio_text == "audio"
        or not words
    ):
        return ()
    groups = _grouped(words)
    texts = [_joined(groups), *(_joined([*groups[:i], *groups[i + 1 :]]) for i in range(len(groups)))]
    occluded = _run_audio_text(predictor, batch, texts, progress)
    repeated_features, repeated_scores = (
        {stream: np.repeat(np.asarray(array), len(texts), axis=0) for stream, array in values.items()}
        | {"audio-text": without_words}
        for values, without_words in zip((features, stream_scores), occluded, strict=True)
    )
    fused, _ = system_scores(predictor.bundle.fusion, repeated_features, repeated_scores)
    effects: Float64[np.ndarray, "n 6"] = fused[0] - fused[1:]
    return tuple(
        WordEffect(group, dict(zip(TARGETS, effect.tolist(), strict=True)))
        for group, effect in zip(groups, effects, strict=True)
    )


def _grouped(words: Sequence[Word]) -> list[tuple[Word, ...]]:
    """Divide the words into as many groups of neighbours as can be left out in reasonable time."""
    characters = len(_joined([words]))
    most = int(np.clip(MOST_CHARACTERS // max(characters, 1), FEWEST_OCCLUSIONS, MOST_OCCLUSIONS))
    size = -(-len(words) // most)
    return [tuple(words[start : start + size]) for start in range(0, len(words), size)]


def _joined(groups: Sequence[Sequence[Word]]) -> str:
    return " ".join(word.text for group in groups for word in group)


def _run_audio_text(
    predictor: Predictor, batch: Batch, texts: Sequence[str], progress: Progress
) -> tuple[Float32[np.ndarray, "n 6 F"], Float32[np.ndarray, "n 6"]]:
    """Return the audio-text stream's features and scores of one clip with each of n texts."""
    vectors = predictor.encoder.encode(texts)
    assert batch.audio is not None  # noqa: S101  (a system with this stream was given its sound)
    outputs = []
    for start in range(0, len(vectors), OCCLUSION_BATCH):
        part = vectors[start : start + OCCLUSION_BATCH]
        variants = Batch(("",) * len(part), audio=np.repeat(batch.audio, len(part), axis=0), text=part)
        outputs.append([values["audio-text"] for values in predictor.networks.run_one("audio-text", variants)])
        progress("measuring the effect of each word", min(start + OCCLUSION_BATCH, len(vectors)), len(vectors))
    features, scores = zip(*outputs, strict=True)
    return np.concatenate(features), np.concatenate(scores)
