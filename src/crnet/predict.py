"""From a video file to a `Prediction`: the frames, transforms and networks of evaluation, behind one door."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from crnet.bundle.bundle import Bundle
from crnet.config import from_dict
from crnet.data.extract import clip_from_video, count_faces
from crnet.data.sources.source import list_videos
from crnet.data.store import source_of
from crnet.data.transforms import collate, sample
from crnet.errors import CrnetError, LabelError, MissingDependencyError, StorageError, UsageError
from crnet.text.asr import SpeechRecogniser
from crnet.text.encoders import find_encoder
from crnet.text.language import language_of
from crnet.text.transcripts import SUFFIXES, clean_transcript, find_sidecar, read_transcript
from crnet.types import SAMPLE_RATE_HZ, STREAMS, TARGETS, Batch, Clip, Prediction, Stream
from crnet.utils.device import Precision

if TYPE_CHECKING:
    from crnet.media.settings import MediaSettings

logger = logging.getLogger(__name__)

TRAINED_ON_SYNTHETIC_PEOPLE = "trained on drawn people: scores of real people are meaningless"
"""First warning wherever a model of simulated people meets anything else."""

NO_TRANSCRIPT = "no transcript: the audio-text stream has no words to go by"
LONGER_BY_S = 0.5  # a clip may exceed the longest training clip by so much without a word
LONGEST_FILE_NAME = 255  # what file systems allow; a longer text is no file

LANGUAGE_OF_TRAINING = "the words seem to be {found}, those of the training clips {known}"
FAR_FROM_TRAINING = {
    "scene": "the picture is unlike those of the training clips",
    "face": "the face's picture is unlike those of the training clips",
    "audio-text": "voice and words together are unlike those of the training clips",
}

Scores = NDArray[np.float64]
Features = NDArray[np.float32]


def system_scores(
    bundle: Bundle, features: Mapping[Stream, ArrayLike], scores: Mapping[Stream, ArrayLike]
) -> tuple[Scores, dict[Stream, Scores]]:
    """What a bundle says of N clips whose features are known; evaluation and prediction both end here.

    The networks' outputs are not bounded, the scores they estimate are: a stream's score is clipped to [0, 1]. The
    trees answer within the range of the training scores by themselves.

    Args:
        bundle: The trained system.
        features: [N, 6, F] of each stream.
        scores: [N, 6] of each stream, as the network gave them.

    Returns:
        The fused scores [N, 6], and those of each stream, all in [0, 1].
    """
    streams = {s: np.clip(np.asarray(scores[s], dtype=np.float64), 0, 1) for s in STREAMS if s in scores}
    return np.clip(bundle.fusion.predict(features), 0, 1), streams


def unlike_training(bundle: Bundle, features: Mapping[Stream, ArrayLike], transcript: str) -> Iterator[str]:
    """In what a clip lies apart from the clips that the system was trained on, in words; nothing if it cannot be told.

    Args:
        bundle: The trained system.
        features: [1, 6, F] of each stream.
        transcript: What is said.
    """
    known = bundle.calibration
    if known is None:
        return
    found = language_of(transcript)
    if found is not None and known.language is not None and found != known.language:
        yield LANGUAGE_OF_TRAINING.format(found=found, known=known.language)
    for stream, distance in bundle.fusion.distances(features).items():
        near = known.nearness.get(stream, float("inf"))
        if distance[0] > near:
            how_far = f"{distance[0]:.2f} from their middle; nearly all stay within {near:.2f}"
            yield f"{FAR_FROM_TRAINING[stream]} ({how_far})"


class Predictor:
    """A trained system, ready to score videos. `crnet.load(run)` makes one.

    Args:
        bundle: The trained system.
        device: Where the networks compute; None leaves them where they are (the CPU, after loading).
        encoder: Where the weights of the bundle's text encoder are now, as `encoder_by_name` understands; None: where
            they were.
        recogniser: Listens to videos without a transcript; None: nobody does.
        precision: What the backbones compute in. bfloat16 halves their time where processor or GPU have instructions
            for it (docs/performance.md); scores move by up to 0.003 (of a system that has seen 480 clips or more), and
            are no longer the same on every machine.

    Raises:
        ConfigError, FormatError: The text encoder is not there, or has other weights than in training.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: torch.device | None = None,
        encoder: str | None = None,
        recogniser: SpeechRecogniser | None = None,
        precision: Precision = "float32",
    ) -> None:
        self.bundle = bundle
        self.precision = precision
        self._device = device or torch.device("cpu")
        self.encoder = find_encoder(bundle.encoder, encoder)
        self.recogniser = recogniser
        for net in bundle.nets.values():
            net.to(self._device).eval()

    def predict(self, path: Path | str, transcript: str | Path | None = None) -> Prediction:
        """Score one video.

        Args:
            path: Any video that FFmpeg reads, with one person talking to the camera.
            transcript: What is said, or a `.txt`, `.srt` or `.vtt` file of it. By default such a file beside the
                video is taken (`talk.srt` beside `talk.mp4`), else the recogniser listens if there is one; "" means
                that nothing is said.

        Raises:
            MediaError: The video cannot be read.
            LabelError: The transcript cannot be read.
        """
        if Path(path).is_dir():
            raise UsageError("a folder, and no videos are in it or below", path=path, remedy="name a video")
        words = transcript_of(Path(path), transcript)
        unwritten = transcript is None and find_sidecar(Path(path)) is None
        clip = self.read(path, words, listen=unwritten)
        return self.predict_clip(clip, words or clip.recognised)

    def read(self, path: Path | str, transcript: str, listen: bool = False) -> Clip:
        """Decode a video as the system wants it, with the words given, or those that the recogniser hears.

        Raises:
            MediaError: The video cannot be read.
        """
        return clip_from_video(
            Path(path),
            clip_id=str(path),
            transcript=transcript,
            encoder=self.encoder,
            settings=self.media_settings(),
            recogniser=self.recogniser if listen else None,
        )

    def predict_many(self, paths: Iterable[Path | str], transcript: str | Path | None = None) -> Iterator[Prediction]:
        """Score videos one after the other; a file that cannot be scored yields a `Prediction` with its `error`.

        Args:
            paths: Videos, and folders of them, which are searched at any depth.
            transcript: As in `predict`, for all of them.
        """
        for path in paths:
            for video in list_videos([path]):
                try:
                    yield self.predict(video, transcript)
                except (MissingDependencyError, StorageError):
                    raise  # every later video would fail alike
                except CrnetError as error:
                    yield Prediction(str(video), None, None, error=str(error))
                except Exception as error:
                    # One odd file must not end a batch.
                    logger.debug("unexpected error in %s", video, exc_info=True)
                    yield Prediction(
                        str(video), None, None, error=f"{video}: unexpected {type(error).__name__}: {error}"
                    )

    def predict_clip(self, clip: Clip, transcript: str = "") -> Prediction:
        """Score a clip that is already decoded, such as one of a store.

        Args:
            clip: The clip; the words are in it as a vector.
            transcript: The words, to tell their language.

        Raises:
            FormatError: The clip is damaged.
            ConfigError: The clip has another number of segments than the system's frames can be drawn from.
        """
        seen = sample(source_of(clip), self.bundle.config.transforms, None, tuple(self.bundle.nets), clip.clip_id)
        features, outputs = self.features(collate([seen]))
        fused, streams = system_scores(self.bundle, features, outputs)
        scores = _by_target(fused[0])
        return Prediction(
            clip=clip.clip_id,
            duration_s=clip.duration_s,
            scores=scores,
            streams={stream: _by_target(own[0]) for stream, own in streams.items()},
            intervals=self._intervals(clip, scores),
            faces=count_faces(source_of(clip), clip.face_box),
            warnings=(*self._warnings(clip), *unlike_training(self.bundle, features, transcript)),
        )

    def predict_batch(self, batch: Batch) -> tuple[Scores, dict[Stream, Scores]]:
        """Fused scores [B, 6] and those of each stream, in [0, 1], of samples that are ready for the models.

        Raises:
            FormatError: The batch lacks a stream that the system needs.
        """
        return system_scores(self.bundle, *self.features(batch))

    def features(self, batch: Batch) -> tuple[dict[Stream, Features], dict[Stream, NDArray[np.float32]]]:
        """What the networks make of a batch: for each stream its features [B, 6, F] and its own scores [B, 6].

        Raises:
            FormatError: The batch lacks a stream that the system needs.
        """
        features: dict[Stream, Features] = {}
        scores: dict[Stream, NDArray[np.float32]] = {}
        halved = torch.autocast(self._device.type, torch.bfloat16, enabled=self.precision == "bfloat16")
        with torch.inference_mode(), halved:
            on_device = batch.to(self._device)
            for stream, net in self.bundle.nets.items():
                output = net(on_device)
                features[stream] = output.features.float().cpu().numpy()
                scores[stream] = output.scores.float().cpu().numpy()
        return features, scores

    def _intervals(self, clip: Clip, scores: Mapping[str, float]) -> dict[str, tuple[float, float]] | None:
        """None where the system's misses say nothing about such a clip, or are not known."""
        drawn_only = self.bundle.training_source == "simulated"
        if self.bundle.calibration is None or (drawn_only and not clip.simulated):
            return None
        return self.bundle.calibration.intervals(scores)

    def media_settings(self) -> MediaSettings:
        """The training clips' settings, keeping only the frames that the networks are shown.

        Where the training store kept all frames, those are the frames nearest the middles of the parts; where it kept
        a few of each segment, they are drawn from the same few, unless a part is a segment: then they are its middle.
        """
        from crnet.media.settings import MediaSettings

        settings = from_dict(MediaSettings, dict(self.bundle.media), self.bundle.path or Path())
        frames = self.bundle.config.transforms.frames
        if settings.frames_per_segment is None or settings.segments == frames:
            return replace(settings, segments=frames, frames_per_segment=1)
        return settings

    def _warnings(self, clip: Clip) -> Iterator[str]:
        if self.bundle.training_source == "simulated" and not clip.simulated:
            yield TRAINED_ON_SYNTHETIC_PEOPLE
        yield from clip.warnings
        if not clip.has_transcript and "audio-text" in self.bundle.nets and NO_TRANSCRIPT not in clip.warnings:
            yield NO_TRANSCRIPT
        longest_s = (self.bundle.config.transforms.audio_samples or 0) / SAMPLE_RATE_HZ
        if "audio-text" in self.bundle.nets and clip.duration_s > longest_s + LONGER_BY_S:
            yield (
                f"{clip.duration_s:.1f} s long, the training clips at most {longest_s:.1f} s: "
                "later sound is not heard, and the frames lie further apart"
            )


@contextmanager
def prediction_table(path: Path) -> Iterator[Callable[[Prediction], None]]:
    """A CSV table that takes predictions as they come, one row a clip; each row is on disk before the next video.

    Raises:
        StorageError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            table = csv.writer(file, lineterminator="\n")
            of_streams = [f"{stream}.{target}" for stream in STREAMS for target in TARGETS]
            ends = [f"{target}.{end}" for target in TARGETS for end in ("low", "high")]
            seen = ("faces_found", "faces_looked_at")
            table.writerow(["clip", "duration_s", *TARGETS, *ends, *of_streams, *seen, "warnings", "error"])

            def write(one: Prediction) -> None:
                table.writerow(_cells(one))
                file.flush()

            yield write
    except OSError as error:
        raise StorageError(
            f"cannot write: {error.strerror or error}", path=path, remedy="choose a file in a folder with space"
        ) from error


def _cells(one: Prediction) -> list[object]:
    scores = [(one.scores or {}).get(target) for target in TARGETS]
    streams = [one.streams.get(stream, {}).get(target) for stream in STREAMS for target in TARGETS]
    between = [end for target in TARGETS for end in (one.intervals or {}).get(target, (None, None))]
    faces = (None, None) if one.faces is None else (one.faces.found, one.faces.looked_at)
    return [one.clip, one.duration_s, *scores, *between, *streams, *faces, "; ".join(one.warnings), one.error]


def _by_target(scores: Scores) -> dict[str, float]:
    return {target: float(score) for target, score in zip(TARGETS, scores, strict=True)}


def transcript_of(video: Path, transcript: str | Path | None) -> str:
    """What is said, from what the caller gave or from a file beside the video; "" if there is none."""
    found = find_transcript(video, transcript)
    return read_transcript(found) if isinstance(found, Path) else found


def find_transcript(video: Path, transcript: str | Path | None) -> str | Path:
    """The file with what is said, or the text itself, from what the caller gave or from beside the video.

    Raises:
        LabelError: A file is named that is not there.
    """
    if transcript is None:
        return find_sidecar(video) or ""
    if isinstance(transcript, Path):
        return transcript
    named = transcript.strip()
    if 0 < len(named) <= LONGEST_FILE_NAME and "\n" not in named:
        if Path(named).exists():
            return Path(named)  # of whatever kind: a folder or a film is then refused, not spoken
        # One word that ends like a transcript's file name is meant as a file, even if it is not there.
        if named.lower().endswith(SUFFIXES) and " " not in named:
            raise LabelError("transcript not found", path=named, remedy="give a file that exists, or the text itself")
    return clean_transcript(transcript)
