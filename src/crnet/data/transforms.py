"""From a clip to what a model sees: the one function that training, evaluation and prediction share.

A clip is cut into `frames` equal parts. Training shows one random stored frame of each part, anew every epoch;
evaluation and prediction show the frame nearest the part's middle (Sec. 3.1.1). Only those frames are read and decoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np
import simplejpeg
import torch

from crnet.data.store import ClipSource, as_clip_source
from crnet.errors import ConfigError, FormatError
from crnet.types import TEXT_DIMENSIONS, Batch, Clip, Stream, VisualStream

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Int64, UInt8

VISUAL_STREAMS: tuple[VisualStream, ...] = get_args(VisualStream)

INT16_SCALE = 32_768.0  # full scale of 16-bit sound is 1.0
TIE_S = 1e-9  # two frames equally far from the middle differ by rounding only
LARGEST_SHIFT = 0.5  # half of the picture is gone
MAX_STORED_SIDE = 4_096  # a stored frame is small; a larger one is a damaged or hostile file


@dataclass(frozen=True)
class TransformConfig:
    """What a model sees of a clip; kept in the bundle, so that prediction sees what training saw.

    Attributes:
        frames: Frames of a clip, one for each equal part (Sec. 3.1.1); divides the clip's number of segments.
        pixels: Height and width of a frame (Sec. 3.1.1).
        audio_samples: Length of the sound at 16 kHz; shorter clips are padded with zeros, longer ones are cut. None:
            the longest of the training split (Sec. 3.1.2), which training fills in; 244,832 on FIv2.
        flip: Training mirrors half of the clips, anew every epoch. The paper does not.
        shift: Training moves the pictures of a clip by up to this share of their side each way, anew every epoch; what
            was outside is filled with the edge. The paper does not.
    """

    frames: int = 32
    pixels: int = 112
    audio_samples: int | None = None
    flip: bool = False
    shift: float = 0.0

    def __post_init__(self) -> None:
        for name in ("frames", "pixels", "audio_samples"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"transforms.{name} is {value}, it must be at least 1")
        if not 0 <= self.shift <= LARGEST_SHIFT:
            raise ConfigError(f"transforms.shift is {self.shift}, it must be 0 to {LARGEST_SHIFT}")


@dataclass(frozen=True, eq=False)
class Sample:
    """One clip as a model sees it; the streams not asked for are None.

    Attributes:
        clip_id: Name of the clip.
        scene: uint8 [T, 3, H, W], RGB.
        face: uint8 [T, 3, H, W], RGB.
        audio: float32 [L] in [-1, 1].
        text: float32 [4800].
        scores: float64 [6] in [0, 1], as annotated; None where they are unknown.
        classes: int64 [6], given exactly when `scores` is.
    """

    clip_id: str
    scene: UInt8[np.ndarray, "T 3 H W"] | None = None
    face: UInt8[np.ndarray, "T 3 H W"] | None = None
    audio: Float32[np.ndarray, " L"] | None = None
    text: Float32[np.ndarray, " 4800"] | None = None
    scores: Float64[np.ndarray, " 6"] | None = None
    classes: Int64[np.ndarray, " 6"] | None = None


def derived_rng(seed: int, epoch: int, name: str) -> np.random.Generator:
    """A generator that depends on these three alone: not on workers, processes, restarts or Python's hash seed."""
    digest = hashlib.sha256(f"{seed}/{epoch}/{name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def choose_frames(source: ClipSource, frames: int, rng: np.random.Generator | None) -> Int64[np.ndarray, " frames"]:
    """Indices of the stored frames to show, one for each of `frames` equal parts, in order of time.

    Args:
        source: The clip.
        frames: How many; must divide the clip's number of segments.
        rng: Draws one stored frame of each part; None takes the one nearest the part's middle (tie: the earlier).

    Raises:
        ConfigError: `frames` does not divide the number of segments.
    """
    if source.segments % frames:
        raise ConfigError(
            f"{frames} frames cannot be drawn from clips of {source.segments} segments",
            remedy=f"choose a number of frames that divides {source.segments}",
        )
    part_of_frame = np.asarray(source.segment, dtype=np.int64) // (source.segments // frames)
    # Frames are in order of time, so each part's lie in a row: an eighth of the time of looking for each part's.
    bounds = np.searchsorted(part_of_frame, np.arange(frames + 1))
    first, count = bounds[:-1], np.diff(bounds)
    if not count.all():
        raise FormatError(f"no frame stored for part {int(np.argmin(count)) + 1} of {frames} of the clip")
    if rng is not None:
        return first + rng.integers(count)
    time_s = np.asarray(source.time_s)
    part_s = source.duration_s / frames
    chosen = np.empty(frames, dtype=np.int64)
    for part in range(frames):
        distance_s = np.abs(time_s[bounds[part] : bounds[part + 1]] - (part + 0.5) * part_s)
        chosen[part] = first[part] + np.argmax(distance_s <= distance_s.min() + TIE_S)
    return chosen


def decode_frame(jpeg: bytes, pixels: int) -> UInt8[np.ndarray, "pixels pixels 3"]:
    """One stored frame, see `decode_frames`."""
    return decode_frames([jpeg], pixels)[0]


def decode_frames(
    jpegs: Sequence[bytes], pixels: int, out: UInt8[np.ndarray, "T pixels pixels 3"] | None = None
) -> UInt8[np.ndarray, "T pixels pixels 3"]:
    """Decode stored frames of one size to squares of `pixels`, RGB, into `out` if it is given.

    Larger frames are reduced while they are decoded (by eighths, in the JPEG's own cosine domain), which takes 0.06 ms
    from 112 to 56 pixels instead of 0.09; what is left of the way is an antialiased bilinear resize.

    Raises:
        FormatError: Not JPEG files, of different sizes, or absurdly large.
    """
    squares = np.empty((len(jpegs), pixels, pixels, 3), dtype=np.uint8) if out is None else out
    try:
        ready = simplejpeg.decode_jpeg_header(jpegs[0])[:2] == (pixels, pixels)
        # Into a square, no larger frame is decoded: one look at a header is enough, which saves a fiftieth of the time.
        frames = (
            [simplejpeg.decode_jpeg(jpeg, "RGB", buffer=square) for jpeg, square in zip(jpegs, squares, strict=True)]
            if ready
            else [_reduced(jpeg, pixels) for jpeg in jpegs]
        )
    except ValueError as error:
        reason = f"a stored frame is not a whole JPEG file: {error}"
        raise FormatError(reason, remedy="run `crnet prepare` again, it makes a damaged clip anew") from error
    if len({frame.shape for frame in frames}) > 1:
        raise FormatError("the stored frames of the clip are of different sizes")
    if frames[0].shape != squares.shape[1:]:
        planes = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
        # All at once: one by one takes three times as long, and gives the same bits.
        resized = torch.nn.functional.interpolate(planes, (pixels, pixels), mode="bilinear", antialias=True)
        squares[:] = resized.permute(0, 2, 3, 1).numpy()
    elif not ready:
        np.stack(frames, out=squares)
    return squares


def _reduced(jpeg: bytes, pixels: int) -> UInt8[np.ndarray, "h w 3"]:
    """A frame at the smallest size, of those that JPEG decodes to at once, that is not below `pixels`."""
    height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
    if max(height, width) > MAX_STORED_SIDE:
        raise FormatError(f"a stored frame is {width}x{height}, more than {MAX_STORED_SIDE} a side")
    least = pixels if height > pixels and width > pixels else 0
    return simplejpeg.decode_jpeg(jpeg, "RGB", min_height=least, min_width=least)


def augment(
    frames: UInt8[np.ndarray, "T 3 H W"], config: TransformConfig, rng: np.random.Generator
) -> UInt8[np.ndarray, "T 3 H W"]:
    """The frames of one clip, all of them mirrored and moved alike, as far as the configuration asks for it."""
    if not config.flip and not config.shift:
        return frames
    if config.flip and rng.random() < 0.5:
        frames = frames[..., ::-1]
    if farthest := round(config.shift * config.pixels):
        top, left = rng.integers(0, 2 * farthest + 1, size=2).tolist()
        side = slice(top, top + config.pixels), slice(left, left + config.pixels)
        frames = np.pad(frames, ((0, 0), (0, 0), (farthest, farthest), (farthest, farthest)), "edge")[..., *side]
    return np.ascontiguousarray(frames)


def pad_audio(audio: np.ndarray, samples: int) -> Float32[np.ndarray, " samples"]:
    """int16 sound as float32 in [-1, 1], cut or padded with zeros at the end to `samples`."""
    padded = np.zeros(samples, dtype=np.float32)
    heard = audio[:samples]
    padded[: len(heard)] = heard.astype(np.float32) / INT16_SCALE
    return padded


def read_sample(
    source: ClipSource,
    config: TransformConfig,
    rng: np.random.Generator | None,
    streams: Collection[Stream],
    clip_id: str = "",
    room: Mapping[VisualStream, UInt8[np.ndarray, "T H W 3"]] | None = None,
) -> Sample:
    """What a model sees of one clip. The scene and the face are taken at the same moments.

    Args:
        source: The clip, in memory or in its file.
        config: Numbers of frames, pixels and sound samples.
        rng: Draws the frames and what `augment` does (training); None takes the middle frames, as they are
            (evaluation, prediction).
        streams: Which streams to read; nothing is read for the others.
        clip_id: Name to give the sample.
        room: Memory to decode the pictures of each visual stream into; by default new memory.

    Raises:
        ConfigError: The number of frames does not divide the clip's number of segments.
        FormatError: The clip is damaged.
    """
    visual: dict[str, UInt8[np.ndarray, "T 3 H W"]] = {}
    if wanted := [stream for stream in VISUAL_STREAMS if stream in streams]:
        chosen = choose_frames(source, config.frames, rng)
        for stream in wanted:
            # Colours stay side by side in memory, as JPEG decodes them and as 2-D convolutions like them best: giving
            # each colour its own plane would take the loader a tenth longer, and the network would undo it.
            jpegs = [source.jpeg(stream, frame) for frame in chosen.tolist()]
            pictures = decode_frames(jpegs, config.pixels, out=None if room is None else room[stream])
            frames = pictures.transpose(0, 3, 1, 2)
            visual[stream] = frames if rng is None else augment(frames, config, rng)
    audio = text = None
    if "audio-text" in streams:
        if config.audio_samples is None:
            raise ConfigError("transforms.audio_samples is not set", remedy="give the length of the sound in samples")
        audio = pad_audio(source.read_audio(), config.audio_samples)
        text = np.asarray(source.read_text(), dtype=np.float32)
        if text.shape != (TEXT_DIMENSIONS,):
            raise FormatError(f"the text vector has shape {list(text.shape)}, expected [{TEXT_DIMENSIONS}]")
    return Sample(clip_id, visual.get("scene"), visual.get("face"), audio, text)


def collate(
    samples: Sequence[Sample], room: Mapping[VisualStream, UInt8[np.ndarray, "B T H W 3"]] | None = None
) -> Batch:
    """Samples of the same streams as one batch.

    Args:
        samples: The clips.
        room: The memory that the pictures of the samples, in this order, were decoded into, if it is one.

    Raises:
        FormatError: No samples, or samples of different streams or sizes.
    """

    def stack(name: str) -> torch.Tensor | None:
        arrays = [array for one in samples if (array := getattr(one, name)) is not None]
        if not arrays:
            return None
        if len(arrays) != len(samples) or len({array.shape for array in arrays}) > 1:
            raise FormatError(f"samples with and without {name}, or of different sizes, in one batch")
        if name in VISUAL_STREAMS:
            whole = None if room is None else room[name]
            if whole is None or not all(np.may_share_memory(frames, whole) for frames in arrays):  # see `augment`
                whole = np.stack([frames.transpose(0, 2, 3, 1) for frames in arrays])
            return torch.from_numpy(whole).permute(0, 1, 4, 2, 3)  # [B, T, H, W, 3] -> [B, T, 3, H, W]
        stacked = np.stack(arrays)
        return torch.from_numpy(stacked.astype(np.float32) if name == "scores" else stacked)

    names = ("scene", "face", "audio", "text", "scores", "classes")
    return Batch(tuple(one.clip_id for one in samples), **{name: stack(name) for name in names})


def clip_batch(clip: Clip, config: TransformConfig, streams: Collection[Stream]) -> Batch:
    """Transform one clip in memory into a batch of one, with the middle frames that evaluation and prediction use.

    Args:
        clip: The clip.
        config: What a model sees.
        streams: The streams to fill in.

    Raises:
        ConfigError: The number of frames does not divide the clip's number of segments.
        FormatError: The clip is damaged.
    """
    return collate([read_sample(as_clip_source(clip), config, None, streams, clip.clip_id)])
