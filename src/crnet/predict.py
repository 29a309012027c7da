"""From a video to a `Prediction`, step by step: find the transcript, read, transform, run the networks, report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crnet.batch import Scoring, VideoReader, predict_videos, read_video
from crnet.bundle.bundle import Bundle
from crnet.bundle.stored_networks import graphs
from crnet.data.extract import extract_clip, with_words
from crnet.data.score_sources import ScoreSource
from crnet.data.transforms import clip_batch
from crnet.data.video_files import list_videos, refuse_folder
from crnet.errors import FormatError, NotScoredError
from crnet.fusion.fusion import system_scores
from crnet.fusion.interval_width import ClipFacts
from crnet.media.frame_sampling import count_faces
from crnet.media.limits import FileLimits
from crnet.media.settings import MediaSettings
from crnet.models.openvino_networks import Networks, OpenVinoNetworks
from crnet.text.asr import SpeechRecogniser
from crnet.text.encoders import find_encoder
from crnet.text.transcripts import Transcript, find_transcript
from crnet.types import SAMPLE_RATE_HZ, TARGETS, TRAINED_ON_SYNTHETIC_PEOPLE, Batch, Clip, Faces, Prediction, Stream
from crnet.utils.executors import Executor, worker_processes

NO_TRANSCRIPT = "no transcript: the audio-text stream used sound only"
LONGER_BY_S = 0.5  # a clip may exceed the longest training clip by this much without a warning

Scores = NDArray[np.float64]
Features = NDArray[np.float32]


class Predictor:
    """A trained system, ready to score videos. `crnet.load(run)` makes one.

    Args:
        bundle: The trained system.
        networks: What runs the networks; None runs them on the CPU by OpenVINO. `crnet.models.inference.TorchNetworks`
            runs them on a GPU.
        encoder: Where the weights of the bundle's text encoder are now, in the form that `encoder_by_name` accepts.
            None looks where they were during training.
        recogniser: Speech recogniser for videos without a transcript; None disables it.

    Raises:
        ConfigError, FormatError: The text encoder is missing, or has other weights than in training.
    """

    def __init__(
        self,
        bundle: Bundle,
        networks: Networks | None = None,
        encoder: str | None = None,
        recogniser: SpeechRecogniser | None = None,
    ) -> None:
        self.bundle = bundle
        self.networks = networks or OpenVinoNetworks(graphs(bundle.networks, bundle.config))
        self.encoder = find_encoder(bundle.encoder, encoder)
        self.recogniser = recogniser

    def predict(
        self, path: Path | str, transcript: str | Path | None = None, *, allow_no_face: bool = False
    ) -> Prediction:
        """Score one video.

        Args:
            path: Any video that FFmpeg reads, with one person talking to the camera.
            transcript: The transcript, or a file of it: `.txt`, `.srt`, `.vtt`, `.ass` or `.ssa`. By default, such a
                file beside the video is used (`talk.srt` beside `talk.mp4`), else the recogniser if there is one; ""
                means that nothing is said.
            allow_no_face: Also score a video without a face in any frame, and a still picture. The centre of the
                picture then stands in for the face.

        Raises:
            MediaError: The video cannot be read.
            NotScoredError: It shows no face in any frame, or is a still picture.
            LabelError: The transcript cannot be read.
            UsageError: The path is a folder.
        """
        refuse_folder(path)
        words = find_transcript(path, transcript)
        clip = self.read(path, words, allow_no_face=allow_no_face)
        return self.predict_clip(clip, words.text)

    def predict_many(
        self,
        paths: Iterable[Path | str] | Path | str,
        transcript: str | Path | None = None,
        *,
        allow_no_face: bool = False,
        workers: int = 1,
        limits: FileLimits | None = None,
        read: VideoReader = read_video,
    ) -> Iterator[Prediction]:
        """Score videos. `pandas.DataFrame(p.to_row() for p in ...)` makes a table of the result.

        Args:
            paths: Videos, and folders, which are searched for videos at any depth; or one of them.
            transcript, allow_no_face: As in `predict`, for all of them.
            workers: Number of processes that read videos. One reads the next video while this process scores the one
                before. If reading a video crashes, the others are still scored. 0 reads in this process.
            limits: What reading one video may take; None: the defaults. They need worker processes.
            read: Reads a video; pickled for the workers.

        Yields:
            A `Prediction` for each video, in the order of the paths; if a video cannot be scored, its `error` says why.

        Raises:
            MissingDependencyError, StorageError: Every further video would fail for the same reason.
            UsageError: Worker processes cannot be started.
        """
        given = [paths] if isinstance(paths, (Path, str)) else paths
        videos = (video for path in given for video in list_videos([path]))
        return predict_videos(
            Scoring(lambda: self),
            (ScoreSource(str(video), video, transcript) for video in videos),
            allow_no_face=allow_no_face,
            executor=Executor(worker_processes(workers)),
            limits=limits,
            read=read,
        )

    def score(self, clip: Clip, transcript: Transcript, *, allow_no_face: bool = False) -> Prediction:
        """Score a clip as `crnet.media.reader.read_video` returns it.

        Raises:
            NotScoredError: It shows no face in any frame, and `allow_no_face` is not given.
        """
        clip = with_words(clip, transcript.text, self.encoder, self.recogniser if transcript.is_missing else None)
        if not allow_no_face:
            _require_face(clip)
        return self.predict_clip(clip, transcript.text)

    def predict_clip(self, clip: Clip, transcript: str = "") -> Prediction:
        """Score a decoded clip, for example one of a store.

        Args:
            clip: The clip, which holds its transcript as a vector.
            transcript: The transcript as text. It serves to detect the language.

        Raises:
            FormatError: The clip is damaged.
            ConfigError: The number of segments of the clip does not fit the system's number of frames.
        """
        batch = self.batch(clip)
        features, scores = self.features(batch)
        return self.report(clip, features, scores, transcript)

    def predict_batch(self, batch: Batch) -> tuple[Scores, dict[Stream, Scores]]:
        """Return the fused scores [B, 6] and the scores of each stream [B, 6], all in [0, 1].

        Raises:
            FormatError: The batch lacks a stream that the system needs.
        """
        return system_scores(self.bundle.fusion, *self.features(batch))

    def read(self, path: Path | str, transcript: Transcript, *, allow_no_face: bool = False) -> Clip:
        """Decode a video with the settings of the training clips.

        The recogniser listens only if the transcript is missing; its words are then in `Clip.recognised`.

        Raises:
            MediaError: The video cannot be read.
            NotScoredError: It shows no face in any frame, or is a still picture, and `allow_no_face` is not given.
        """
        clip = extract_clip(
            Path(path),
            clip_id=str(path),
            transcript=transcript.text,
            encoder=self.encoder,
            settings=self.media_settings(),
            recogniser=self.recogniser if transcript.is_missing else None,
            allow_still=allow_no_face,
        )
        if not allow_no_face:
            _require_face(clip)
        return clip

    def batch(self, clip: Clip) -> Batch:
        """Transform a clip into the batch of one that the networks see."""
        return clip_batch(clip, self.bundle.config.transforms, tuple(self.bundle.networks))

    def features(self, batch: Batch) -> tuple[dict[Stream, Features], dict[Stream, NDArray[np.float32]]]:
        """Return the features [B, 6, F] and the unbounded scores [B, 6] of each stream.

        Raises:
            FormatError: The batch lacks a stream that the system needs.
        """
        return self.networks.run(batch)

    def report(
        self,
        clip: Clip,
        features: Mapping[Stream, Features],
        scores: Mapping[Stream, NDArray[np.float32]],
        transcript: str = "",
    ) -> Prediction:
        """Turn what the networks return for one clip into a `Prediction` with intervals and warnings.

        Args:
            clip: The clip.
            features, scores: The result of `features` for the batch of this clip.
            transcript: See `predict_clip`; by default what the recogniser heard.

        Raises:
            FormatError: The features are not finite: the weights are damaged, or training diverged.
        """
        bundle = self.bundle
        warnings = list(self._clip_warnings(clip))
        try:
            fused, streams = system_scores(bundle.fusion, features, scores)
        except FormatError as error:  # of weights that are extreme, but were signed
            error.path = error.path or bundle.path
            raise
        fused_by_target = _by_target(fused[0])
        intervals = None
        if bundle.calibration is not None:
            distances = bundle.fusion.distances(features)
            warnings += bundle.calibration.unlike_training(distances, transcript or clip.recognised)
            if bundle.applies_to(clip.simulated):
                intervals = bundle.calibration.intervals(ClipFacts(fused, streams, distances))
        return Prediction(
            clip=clip.clip_id,
            duration_s=clip.duration_s,
            scores=fused_by_target,
            streams={stream: _by_target(stream_scores[0]) for stream, stream_scores in streams.items()},
            intervals=intervals,
            faces=_faces(clip),
            warnings=tuple(warnings),
            model=bundle.model,
        )

    def media_settings(self) -> MediaSettings:
        """Return how videos are read; see `crnet.bundle.bundle.media_settings`."""
        return self.bundle.media_settings()

    def compile(self) -> None:
        """Compile the networks now, which takes up to a second, rather than when they run for the first time."""
        self.networks.compile()

    def _clip_warnings(self, clip: Clip) -> Iterator[str]:
        """Yield what a reader must know about a clip before its scores, most important first."""
        if not self.bundle.applies_to(clip.simulated):
            yield TRAINED_ON_SYNTHETIC_PEOPLE
        yield from clip.warnings
        if "audio-text" not in self.bundle.networks:
            return
        if not clip.has_transcript:
            yield NO_TRANSCRIPT
        longest_s = (self.bundle.config.transforms.audio_samples or 0) / SAMPLE_RATE_HZ
        if clip.duration_s > longest_s + LONGER_BY_S:
            yield (
                f"the video is {clip.duration_s:.1f} s long, but the training clips are at most {longest_s:.1f} s: "
                f"sound after the first {longest_s:.1f} s is ignored, and frames are sampled more sparsely"
            )


def _require_face(clip: Clip) -> None:
    """Refuse a clip without a face.

    Raises:
        NotScoredError: It shows none in any frame.
    """
    faces = _faces(clip)
    if not faces.found:
        reason = f"no face was found in any of {faces.looked_at} frames"
        raise NotScoredError(reason, path=clip.clip_id, remedy="--allow-no-face scores it all the same")


def _faces(clip: Clip) -> Faces:
    return count_faces(clip.time_s, clip.duration_s, clip.segments, clip.face_box)


def _by_target(scores: Scores) -> dict[str, float]:
    return {target: float(score) for target, score in zip(TARGETS, scores, strict=True)}
