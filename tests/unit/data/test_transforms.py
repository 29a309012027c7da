"""Transforms: choice of frames, decoding, augmentation and sound."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import torch
from hypothesis import given
from hypothesis import strategies as st

from crnet.data.dataset import collate
from crnet.data.store import ClipFile, as_clip_source, write_clip
from crnet.data.transforms import (
    TransformConfig,
    augment,
    choose_frames,
    decode_frame,
    decode_frames,
    derived_rng,
    pad_audio,
    read_sample,
)
from crnet.errors import ConfigError, FormatError
from synthetic import make_clip


@dataclass
class Source:
    """Frames at given times, and a record of what was read."""

    time_s: np.ndarray
    segment: np.ndarray
    segments: int
    duration_s: float
    read: list[object] = field(default_factory=list)

    def jpegs(self, stream: str, frames: list[int]) -> list[bytes]:
        self.read += [(stream, frame) for frame in frames]
        return [jpeg_of(np.full((8, 8, 3), frame, np.uint8)) for frame in frames]

    def read_audio(self) -> np.ndarray:
        self.read.append("audio")
        return np.array([16384, -32768], np.int16)

    def read_text(self) -> np.ndarray:
        self.read.append("text")
        return np.zeros(4800, np.float32)


def source(times: list[float], segments: list[int], count: int, duration_s: float) -> Source:
    return Source(np.array(times), np.array(segments, np.int16), count, duration_s)


def jpeg_of(picture: np.ndarray) -> bytes:
    return simplejpeg.encode_jpeg(picture, quality=95, colorspace="RGB", colorsubsampling="444")


EIGHT_SECONDS = source([0.0, 0.9, 1.5, 2.5, 3.5, 4.5, 5.5, 6.9], [0, 0, 0, 1, 1, 2, 2, 3], 4, 8.0)


@pytest.mark.parametrize(
    ("frames", "chosen"),
    [
        (4, [1, 3, 5, 7]),  # middles 1, 3, 5, 7: the frames of 0.9, 2.5, 4.5 and 6.9 s stay on screen until then
        (2, [2, 6]),  # middles 2 and 6: 1.5 and 5.5 s
        (1, [4]),  # middle 4: 3.5 s
    ],
)
def test_evaluation_takes_the_frame_on_screen_at_the_middle(frames: int, chosen: list[int]) -> None:
    assert choose_frames(EIGHT_SECONDS, frames, None).tolist() == chosen


def test_the_nearest_frame_does_not_count_before_it_appears() -> None:
    assert choose_frames(source([0.0, 0.3, 1.1], [0, 0, 0], 1, 2.0), 1, None).tolist() == [1]


def test_a_frame_that_appears_at_the_middle_up_to_rounding_is_on_screen() -> None:
    for time_s in (0.2, 0.1 + 0.1 + 1e-12, 0.201):  # containers round to milliseconds
        assert choose_frames(source([0.1, time_s], [0, 0], 1, 0.4), 1, None).tolist() == [1]


def test_a_part_without_the_frame_on_screen_shows_its_first_one() -> None:
    # Earlier stores kept the frame nearest to the middle only: here, of 1 and 3 s.
    assert choose_frames(source([1.1, 3.2], [0, 1], 2, 4.0), 2, None).tolist() == [0, 1]


@given(st.integers(0, 2**31), st.integers(0, 100), st.sampled_from([1, 2, 4]))
def test_training_chooses_a_frame_of_each_part(seed: int, epoch: int, frames: int) -> None:
    chosen = choose_frames(EIGHT_SECONDS, frames, derived_rng(seed, epoch, "clip"))
    assert (EIGHT_SECONDS.segment[chosen] // (4 // frames)).tolist() == list(range(frames))
    assert (chosen == choose_frames(EIGHT_SECONDS, frames, derived_rng(seed, epoch, "clip"))).all()


def test_training_shows_every_stored_frame_about_equally_often() -> None:
    chosen = [choose_frames(EIGHT_SECONDS, 4, derived_rng(0, epoch, "clip"))[0] for epoch in range(600)]
    counts = np.bincount(chosen, minlength=3)
    assert counts.sum() == 600 and (abs(counts - 200) < 60).all()  # 5 standard deviations


def test_randomness_is_the_same_on_every_machine() -> None:
    assert derived_rng(7, 3, "abc.001.mp4").integers(1000, size=4).tolist() == GOLDEN
    assert derived_rng(7, 4, "abc.001.mp4").integers(1000, size=4).tolist() != GOLDEN
    assert derived_rng(8, 3, "abc.001.mp4").integers(1000, size=4).tolist() != GOLDEN
    assert derived_rng(7, 3, "abc.002.mp4").integers(1000, size=4).tolist() != GOLDEN


GOLDEN = [537, 626, 999, 855]


@pytest.mark.parametrize("frames", [3, 5, 8, 64])
def test_frames_must_divide_the_segments(frames: int) -> None:
    with pytest.raises(ConfigError, match=f"{frames} frames .* 4 segments"):
        choose_frames(EIGHT_SECONDS, frames, None)


@pytest.mark.parametrize("name", ["frames", "pixels", "audio_samples"])
def test_sizes_are_positive(name: str) -> None:
    with pytest.raises(ConfigError, match=f"transforms.{name} is 0"):
        TransformConfig(**{name: 0})


@pytest.mark.parametrize(
    ("streams", "read"),
    [
        (["scene"], [("scene", 1), ("scene", 3), ("scene", 5), ("scene", 7)]),
        (["face"], [("face", 1), ("face", 3), ("face", 5), ("face", 7)]),
        (["audio-text"], ["audio", "text"]),
    ],
)
def test_only_what_is_shown_is_read(streams: list[str], read: list[object]) -> None:
    clip = replace(EIGHT_SECONDS, read=[])
    sample = read_sample(clip, TransformConfig(4, 8, 3), None, streams)
    assert clip.read == read
    if "scene" in streams:
        assert sample.scene is not None and sample.scene[:, 0, 0, 0].tolist() == [1, 3, 5, 7]
        assert sample.face is None and sample.audio is None
    if "audio-text" in streams:
        assert sample.audio is not None and sample.audio.tolist() == [0.5, -1.0, 0.0]


@pytest.mark.parametrize("side", [(64, 64), (112, 112), (100, 80), (20, 20), (24, 24), (24, 90)])
def test_a_resized_frame_keeps_its_picture(side: tuple[int, int]) -> None:
    ramp = np.linspace(40, 220, side[1]).round().astype(np.uint8)
    picture = np.stack([np.tile(ramp, (side[0], 1)), np.full(side, 90), np.full(side, 30)], axis=-1).astype(np.uint8)
    small = decode_frame(jpeg_of(picture), 24)
    assert small.shape == (24, 24, 3) and small.dtype == np.uint8
    centres = (np.arange(24) + 0.5) * side[1] / 24 - 0.5  # of the new columns, in old ones
    expected = 40 + 180 * centres / (side[1] - 1)
    assert abs(small[:, 1:-1, 0].mean(0) - expected[1:-1]).max() < 4
    assert abs(small[..., 1].astype(int) - 90).max() < 6 and abs(small[..., 2].astype(int) - 30).max() < 6


def test_a_fine_pattern_is_averaged_and_not_subsampled() -> None:
    stripes = np.zeros((60, 60, 3), np.uint8)
    stripes[:, ::2] = 255
    small = decode_frame(jpeg_of(stripes), 20).astype(float)
    assert abs(small[:, 2:-2] - 127.5).max() < 50  # taking every third column would give 0 and 255


@pytest.mark.parametrize("side", [24, 37, 90])
def test_frames_decoded_together_equal_frames_decoded_alone(side: int) -> None:
    pictures = np.random.default_rng(side).integers(0, 256, (3, side, side, 3)).astype(np.uint8)
    jpegs = [jpeg_of(picture) for picture in pictures]
    together = decode_frames(jpegs, 24)
    np.testing.assert_array_equal(together, [decode_frame(jpeg, 24) for jpeg in jpegs])
    out = np.zeros_like(together)
    assert decode_frames(jpegs, 24, out=out) is out and (out == together).all()


@pytest.mark.parametrize("sides", [(24, 20), (24, 30), (40, 20), (20, 24)])
def test_frames_of_different_sizes_are_refused(sides: tuple[int, int]) -> None:
    with pytest.raises(FormatError, match="stored frame"):
        decode_frames([jpeg_of(np.zeros((side, side, 3), np.uint8)) for side in sides], 24)


@pytest.mark.parametrize(
    "jpeg",
    [b"", b"no picture", jpeg_of(np.zeros((16, 16, 3), np.uint8))[:-40], jpeg_of(np.zeros((8, 5000, 3), np.uint8))],
    ids=["empty", "foreign", "cut off", "huge"],
)
def test_a_damaged_frame_is_a_format_error(jpeg: bytes) -> None:
    with pytest.raises(FormatError, match="stored frame"):
        decode_frame(jpeg, 16)


def all_augmentations(picture: list[list[int]], config: TransformConfig) -> set[str]:
    """Return all different results of 200 augmentations of a picture, as text."""
    frames = np.broadcast_to(np.array(picture, np.uint8), (2, 3, len(picture), len(picture)))
    results = [augment(frames, config, derived_rng(0, epoch, "clip")) for epoch in range(200)]
    for result in results:
        assert (result == result[:1, :1]).all()  # the same for all frames and colours
    return {str(result[0, 0].tolist()) for result in results}


def test_a_flip_mirrors_left_and_right() -> None:
    config = TransformConfig(pixels=2, flip=True)
    assert all_augmentations([[1, 2], [3, 4]], config) == {"[[1, 2], [3, 4]]", "[[2, 1], [4, 3]]"}


def test_a_shift_moves_up_to_a_share_of_the_side_and_repeats_the_edge() -> None:
    # Half of 2 pixels is 1: two rows of [1 1 2 2] over two of [3 3 4 4], of which any 2 x 2 window can result.
    lines = ["[{}, {}]".format(*pair) for pair in ((1, 1), (1, 2), (2, 2), (3, 3), (3, 4), (4, 4))]
    upper, lower = lines[:3], lines[3:]
    expected = {f"[{a}, {b}]" for first, second in ((upper, upper), (upper, lower), (lower, lower))
                for a, b in zip(first, second, strict=True)}  # fmt: skip
    assert all_augmentations([[1, 2], [3, 4]], TransformConfig(pixels=2, shift=0.5)) == expected


def test_evaluation_and_the_paper_do_not_augment() -> None:
    assert all_augmentations([[1, 2], [3, 4]], TransformConfig(pixels=2)) == {"[[1, 2], [3, 4]]"}
    changing = TransformConfig(frames=4, pixels=8, flip=True, shift=0.5)
    plain = replace(changing, flip=False, shift=0.0)
    evaluated, expected = (read_sample(EIGHT_SECONDS, config, None, ["scene"]).scene for config in (changing, plain))
    np.testing.assert_array_equal(evaluated, expected)


@pytest.mark.parametrize("shift", [-0.1, 0.6, float("nan")])
def test_a_shift_out_of_range_is_refused(shift: float) -> None:
    with pytest.raises(ConfigError, match="shift"):
        TransformConfig(shift=shift)


@pytest.mark.parametrize(
    ("audio", "samples", "expected"),
    [
        ([], 2, [0.0, 0.0]),
        ([32767, -32768], 4, [32767 / 32768, -1.0, 0.0, 0.0]),
        ([8192, 16384, 1], 2, [0.25, 0.5]),
    ],
)
def test_sound_is_scaled_and_padded(audio: list[int], samples: int, expected: list[float]) -> None:
    padded = pad_audio(np.array(audio, np.int16), samples)
    assert padded.dtype == np.float32 and padded.tolist() == np.float32(expected).tolist()


def test_a_clip_on_disk_and_in_memory_gives_the_same_sample(tmp_path: Path) -> None:
    clip = make_clip("a")
    write_clip(tmp_path / "a.safetensors", clip)
    config = TransformConfig(8, 16, 5000)
    for rng_seed in (None, 3):
        a, b = (
            read_sample(
                each, config, None if rng_seed is None else derived_rng(rng_seed, 0, "a"), ["scene", "audio-text"]
            )
            for each in (ClipFile(tmp_path / "a.safetensors"), as_clip_source(clip))
        )
        for name in ("scene", "audio", "text"):
            assert np.array_equal(getattr(a, name), getattr(b, name))


def test_collate_makes_a_valid_batch() -> None:
    config = TransformConfig(4, 16, 100)
    samples = [
        read_sample(as_clip_source(make_clip(name)), config, None, ["scene", "audio-text"], name) for name in "ab"
    ]
    scored = [replace(s, scores=np.full(6, 0.7), classes=np.full(6, 3)) for s in samples]
    batch = collate(scored)
    assert batch.clip_ids == ("a", "b") and batch.scene is not None and batch.scores is not None
    assert batch.scene.shape == (2, 4, 3, 16, 16) and batch.face is None
    assert batch.scene.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    assert batch.scores.dtype == torch.float32 and batch.classes is not None and batch.classes.dtype == torch.int64
    with pytest.raises(FormatError, match="scores"):
        collate([samples[0], scored[1]])
    with pytest.raises(FormatError, match="empty"):
        collate([])
