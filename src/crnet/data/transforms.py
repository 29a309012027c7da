"""Transform a clip into the input of a model: the code that training, evaluation and prediction share.

A clip is divided into `frames` equal parts. Training shows one random stored frame of each part, anew every epoch.
Evaluation and prediction show the frame on screen at the middle of the part (Sec. 3.1.1). Only these frames are
decoded.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np
import simplejpeg

from crnet.data.store import ClipSource, as_clip_source
from crnet.errors import ConfigError, FormatError
from crnet.types import INT16_FULL_SCALE, SAMPLE_RATE_HZ, TEXT_DIMENSIONS, Batch, Clip, Stream, VisualStream
from crnet.utils.on_screen import middle_frames
from crnet.utils.resize import resize_all
from crnet.utils.resumable import content_fingerprint

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Int64, UInt8

VISUAL_STREAMS: tuple[VisualStream, ...] = get_args(VisualStream)

LARGEST_SHIFT = 0.5  # half of the frame is lost
MAX_PIXELS = 1_024  # side of a frame
MAX_CLIP_PIXELS = 16 << 20  # the paper's clips have 0.4 million; 16 million take 1 GB in the first layer of ResNet-34
MAX_AUDIO_SAMPLES = 10 * 60 * SAMPLE_RATE_HZ
MAX_STORED_SIDE = 4_096  # stored frames are small; a larger one means a damaged or hostile file


@dataclass(frozen=True)
class TransformConfig:
    """How clips become samples. The bundle stores these settings: prediction uses the same transforms as training.

    Attributes:
        frames: Frames per clip. The clip is divided into this many equal parts, and one frame is taken from each. Must
            divide the clip's number of segments (Sec. 3.1.1).
        pixels: Height and width of a frame (Sec. 3.1.1).
        audio_samples: Length of the audio, in samples at 16 kHz; shorter clips are zero-padded, longer ones are cut.
            None: training fills in the length of the longest training clip (Sec. 3.1.2), 244,832 on FIv2.
        flip: Mirror a random half of the clips in each training epoch; `no-flip`, as in the paper, mirrors none.
        shift: Maximum random shift in each direction, as a fraction of the frame size, drawn anew each training epoch.
            Borders are filled with the edge pixels. The paper does not do this.
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
                raise ConfigError(f"transforms.{name} is {value}; it must be at least 1")
        if self.pixels > MAX_PIXELS or self.frames * self.pixels**2 > MAX_CLIP_PIXELS:
            raise ConfigError(
                f"transforms.frames is {self.frames} and transforms.pixels is {self.pixels}; a clip may have at most "
                f"{MAX_CLIP_PIXELS} pixels, in frames of at most {MAX_PIXELS}x{MAX_PIXELS}"
            )
        if self.audio_samples is not None and self.audio_samples > MAX_AUDIO_SAMPLES:
            raise ConfigError(
                f"transforms.audio_samples is {self.audio_samples}; it must be at most {MAX_AUDIO_SAMPLES} (10 minutes)"
            )
        if not 0 <= self.shift <= LARGEST_SHIFT:
            raise ConfigError(f"transforms.shift is {self.shift}; it must be 0 to {LARGEST_SHIFT}")


@dataclass(frozen=True, eq=False)
class Sample:
    """One clip as the input of a model; streams that were not requested are None.

    Attributes:
        clip_id: Name of the clip.
        scene: uint8 [T, 3, H, W], RGB.
        face: uint8 [T, 3, H, W], RGB.
        audio: float32 [L] in [-1, 1].
        text: float32 [4800].
        scores: float64 [6] in [0, 1], as annotated; None if unknown.
        classes: int64 [6]; present exactly when `scores` is.
    """

    clip_id: str
    scene: UInt8[np.ndarray, "T 3 H W"] | None = None
    face: UInt8[np.ndarray, "T 3 H W"] | None = None
    audio: Float32[np.ndarray, " L"] | None = None
    text: Float32[np.ndarray, " 4800"] | None = None
    scores: Float64[np.ndarray, " 6"] | None = None
    classes: Int64[np.ndarray, " 6"] | None = None


def derived_rng(seed: int, epoch: int, name: str) -> np.random.Generator:
    """Return a generator that depends on these three alone, not on workers, processes or restarts."""
    digits = content_fingerprint([f"{seed}/{epoch}/{name}".encode()])
    return np.random.default_rng(int(digits[:32], 16))


def choose_frames(source: ClipSource, frames: int, rng: np.random.Generator | None) -> Int64[np.ndarray, " frames"]:
    """Return the indices of the stored frames to show, one for each of `frames` equal parts, in order of time.

    Args:
        source: The clip.
        frames: Number of frames; must divide the clip's number of segments.
        rng: Chooses a random stored frame of each part; None: the frame on screen at its middle, of those stored for
            the part.

    Raises:
        ConfigError: `frames` does not divide the number of segments.
    """
    if source.segments % frames:
        raise ConfigError(
            f"{frames} frames cannot be chosen from clips of {source.segments} segments",
            remedy=f"choose a number of frames that divides {source.segments}",
        )
    part_of_frame = np.asarray(source.segment, dtype=np.int64) // (source.segments // frames)
    # Frames are in order of time, so the frames of a part are contiguous. Comparing takes 8 times as long.
    bounds = np.searchsorted(part_of_frame, np.arange(frames + 1))
    first, count = bounds[:-1], np.diff(bounds)
    if not count.all():
        raise FormatError(f"no frame is stored for part {int(np.argmin(count)) + 1} of {frames} of the clip")
    if rng is not None:
        return first + rng.integers(count)
    middles = middle_frames(np.asarray(source.time_s), source.duration_s, frames)
    # A store may lack the frame on screen: then the part's first frame is shown.
    return np.clip(middles, first, bounds[1:] - 1)


def middle_frame(source: ClipSource) -> int:
    """Return the index of the stored frame on screen at the middle of a clip."""
    return int(choose_frames(source, 1, None)[0])


def decode_frame(jpeg: bytes, pixels: int) -> UInt8[np.ndarray, "pixels pixels 3"]:
    """Decode one stored frame; see `decode_frames`."""
    return decode_frames([jpeg], pixels)[0]


def decode_frames(
    jpeg_files: Sequence[bytes], pixels: int, out: UInt8[np.ndarray, "T pixels pixels 3"] | None = None
) -> UInt8[np.ndarray, "T pixels pixels 3"]:
    """Decode stored frames of one size to RGB squares of `pixels`, into `out` if it is given.

    JPEG scales larger frames by eighths while it decodes them, which takes 0.06 ms instead of 0.09 ms from 112 to 56
    pixels. An antialiased bilinear resize does the rest.

    Raises:
        FormatError: The frames are no JPEG files, have different sizes, or are absurdly large.
    """
    squares = np.empty((len(jpeg_files), pixels, pixels, 3), dtype=np.uint8) if out is None else out
    try:
        has_final_size = simplejpeg.decode_jpeg_header(jpeg_files[0])[:2] == (pixels, pixels)
        # Decoding into a buffer fails for a larger frame, so one header is enough to check. That saves 2% of the time.
        frames = (
            [
                simplejpeg.decode_jpeg(jpeg, "RGB", buffer=square)
                for jpeg, square in zip(jpeg_files, squares, strict=True)
            ]
            if has_final_size
            else [_decode_scaled(jpeg, pixels) for jpeg in jpeg_files]
        )
    except ValueError as error:
        reason = f"a stored frame is not a complete JPEG file: {error}"
        raise FormatError(reason, remedy="run `crnet prepare` again, which replaces a damaged clip") from error
    if len({frame.shape for frame in frames}) > 1:
        raise FormatError("the stored frames of the clip have different sizes")
    if frames[0].shape != squares.shape[1:]:
        squares[:] = resize_all(np.stack(frames), pixels, pixels)
    elif not has_final_size:
        np.stack(frames, out=squares)
    return squares


def _decode_scaled(jpeg: bytes, pixels: int) -> UInt8[np.ndarray, "h w 3"]:
    """Decode a frame at the smallest size that JPEG offers and that is not below `pixels`."""
    height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
    if max(height, width) > MAX_STORED_SIDE:
        raise FormatError(f"a stored frame is {width}x{height}, more than {MAX_STORED_SIDE} pixels on a side")
    min_side = pixels if height > pixels and width > pixels else 0
    return simplejpeg.decode_jpeg(jpeg, "RGB", min_height=min_side, min_width=min_side)


def augment(
    frames: UInt8[np.ndarray, "T 3 H W"], config: TransformConfig, rng: np.random.Generator
) -> UInt8[np.ndarray, "T 3 H W"]:
    """Mirror and shift the frames of one clip, all in the same way, as configured."""
    if not config.flip and not config.shift:
        return frames
    if config.flip and rng.random() < 0.5:
        frames = frames[..., ::-1]
    if margin := round(config.shift * config.pixels):
        top, left = rng.integers(0, 2 * margin + 1, size=2).tolist()
        window = slice(top, top + config.pixels), slice(left, left + config.pixels)
        frames = np.pad(frames, ((0, 0), (0, 0), (margin, margin), (margin, margin)), "edge")[..., *window]
    return np.ascontiguousarray(frames)


def pad_audio(audio: np.ndarray, samples: int) -> Float32[np.ndarray, " samples"]:
    """Convert int16 sound to float32 in [-1, 1], cut or zero-padded at the end to `samples`."""
    padded = np.zeros(samples, dtype=np.float32)
    cut = audio[:samples]
    padded[: len(cut)] = cut.astype(np.float32) / INT16_FULL_SCALE
    return padded


def read_sample(
    source: ClipSource,
    config: TransformConfig,
    rng: np.random.Generator | None,
    streams: Collection[Stream],
    clip_id: str = "",
    out: Mapping[VisualStream, UInt8[np.ndarray, "T H W 3"]] | None = None,
) -> Sample:
    """Read one clip as a sample. Scene and face come from the same frames of the video.

    Args:
        source: The clip, in memory or in its file.
        config: How a clip becomes a sample.
        rng: Chooses the frames and the augmentation (training); None: the middle frames without augmentation
            (evaluation, prediction).
        streams: The streams to read; nothing is read for the others.
        clip_id: Name of the sample.
        out: Arrays to decode the frames of each visual stream into; None: new arrays.

    Raises:
        ConfigError: The number of frames does not divide the clip's number of segments.
        FormatError: The clip is damaged.
    """
    visual = _read_frames(source, config, rng, [stream for stream in VISUAL_STREAMS if stream in streams], out)
    audio, text = _read_audio_text(source, config) if "audio-text" in streams else (None, None)
    return Sample(clip_id, visual.get("scene"), visual.get("face"), audio, text)


def _read_frames(
    source: ClipSource,
    config: TransformConfig,
    rng: np.random.Generator | None,
    streams: Sequence[VisualStream],
    out: Mapping[VisualStream, UInt8[np.ndarray, "T H W 3"]] | None,
) -> dict[VisualStream, UInt8[np.ndarray, "T 3 H W"]]:
    visual: dict[VisualStream, UInt8[np.ndarray, "T 3 H W"]] = {}
    indices = choose_frames(source, config.frames, rng).tolist() if streams else []
    for stream in streams:
        # The memory stays channels-last, as JPEG decodes it and as 2-D convolutions prefer it. Reordering it would
        # take the loader a tenth longer, and the network would undo it.
        jpeg_files = source.jpegs(stream, indices)
        pictures = decode_frames(jpeg_files, config.pixels, out=None if out is None else out[stream])
        frames = pictures.transpose(0, 3, 1, 2)  # [T, H, W, 3] -> [T, 3, H, W]
        visual[stream] = frames if rng is None else augment(frames, config, rng)
    return visual


def _read_audio_text(
    source: ClipSource, config: TransformConfig
) -> tuple[Float32[np.ndarray, " L"], Float32[np.ndarray, " 4800"]]:
    if config.audio_samples is None:
        raise ConfigError("transforms.audio_samples is not set", remedy="set the length of the sound in samples")
    audio = pad_audio(source.read_audio(), config.audio_samples)
    text = np.asarray(source.read_text(), dtype=np.float32)
    if text.shape != (TEXT_DIMENSIONS,):
        raise FormatError(f"the text vector has shape {list(text.shape)}, expected [{TEXT_DIMENSIONS}]")
    return audio, text


def stack_samples(
    samples: Sequence[Sample], out: Mapping[VisualStream, UInt8[np.ndarray, "B T H W 3"]] | None = None
) -> Batch:
    """Combine samples with the same streams into a batch of NumPy arrays; `crnet.data.dataset.collate` makes tensors.

    Args:
        samples: The clips.
        out: The arrays into which the frames of all samples were decoded, in this order; None: they are stacked.

    Raises:
        FormatError: No samples, or samples with different streams or sizes.
    """

    def stack(name: str) -> np.ndarray | None:
        arrays = [array for sample in samples if (array := getattr(sample, name)) is not None]
        if not arrays:
            return None
        if len(arrays) != len(samples) or len({array.shape for array in arrays}) > 1:
            raise FormatError(f"a batch has samples with and without {name}, or {name} of different sizes")
        if name in VISUAL_STREAMS:
            decoded = None if out is None else out[name]
            if decoded is None or not all(np.may_share_memory(frames, decoded) for frames in arrays):
                # `augment` has copied some frames.
                decoded = np.stack([frames.transpose(0, 2, 3, 1) for frames in arrays])
            return decoded.transpose(0, 1, 4, 2, 3)  # [B, T, H, W, 3] -> [B, T, 3, H, W]
        stacked = np.stack(arrays)
        return stacked.astype(np.float32) if name == "scores" else stacked

    names = ("scene", "face", "audio", "text", "scores", "classes")
    return Batch(tuple(sample.clip_id for sample in samples), **{name: stack(name) for name in names})


def clip_batch(clip: Clip, config: TransformConfig, streams: Collection[Stream]) -> Batch:
    """Transform one clip in memory into a batch of one, with the middle frames that evaluation and prediction use.

    Args:
        clip: The clip.
        config: How a clip becomes a sample.
        streams: The streams to fill in.

    Raises:
        ConfigError: The number of frames does not divide the clip's number of segments.
        FormatError: The clip is damaged.
    """
    return stack_samples([read_sample(as_clip_source(clip), config, None, streams, clip.clip_id)])
