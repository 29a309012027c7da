"""One talking clip in many forms gets the same scores: containers, clocks, display matrices, edit lists."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from crnet.bundle.bundle import Bundle
from crnet.media.settings import MediaSettings
from crnet.predict import Predictor
from crnet.simulate.encode_video import encode_video
from crnet.simulate.planning import SimulationConfig, plan_clips
from crnet.types import TARGETS

CONFIG = SimulationConfig(clips=3, seconds=2.0, fps=25, height=96, voice="built-in")
"""A person who speaks for two seconds. Of four segments, the frames 6, 18, 31 and 43 are on screen at the middles."""
ON_SCREEN = {6, 18, 31, 43}
SKIPPED_S = 0.4  # by the edit list
SAME_BITSTREAM = 1e-5
SAME_PICTURE = 0.005  # turned pictures are scaled in another direction; measured up to .0046
TRANSCODED = 0.01  # measured up to .0048
LOSSLESS = {"preset": "ultrafast", "qp": "0"}


def mux(path: Path, source: Path, start_s: float = 0.0, **options: str) -> Path:
    """Copy the packets of a file into another container, with another start of the clock."""
    with av.open(str(source)) as container, av.open(str(path), "w", options=options) as target:
        streams = {s.index: target.add_stream_from_template(s) for s in container.streams}
        for packet in container.demux():
            if packet.dts is None:
                continue
            ticks = round(start_s / packet.time_base)
            packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
            packet.stream = streams[packet.stream_index]
            target.mux(packet)
    return path


def encode(
    path: Path,
    source: Path,
    video: str,
    audio: str,
    change: Callable[[list[np.ndarray]], list[np.ndarray]] = lambda planes: planes,
    keep: Callable[[int], bool] = lambda number: True,
    video_options: dict[str, str] = LOSSLESS,
) -> Path:
    """Decode a file and encode it again; `change` rearranges the planes Y, U and V of each frame."""
    frames, sounds = decoded(source)
    with av.open(str(source)) as container, av.open(str(path), "w") as target:
        first = change(planes_of(frames[0]))[0]
        picture = target.add_stream(video, rate=CONFIG.rate, options=video_options)
        picture.height, picture.width, picture.pix_fmt = *first.shape, "yuv420p"
        packets = []
        if audio == "copy":
            sound = target.add_stream_from_template(container.streams.audio[0])
            packets += [packet for packet in container.demux(audio=0) if packet.dts is not None]
            for packet in packets:
                packet.stream = sound
        else:
            sound = target.add_stream(audio, sounds[0].sample_rate, layout="mono")
            resampler = av.AudioResampler(sound.codec_context.format, "mono", sounds[0].sample_rate)
            packets += [p for frame in sounds for part in resampler.resample(frame) for p in sound.encode(part)]
            packets += sound.encode(None)
        for number, frame in enumerate(frames):
            if keep(number):
                packets += picture.encode(from_planes(change(planes_of(frame)), number))
        packets += picture.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            target.mux(packet)
    return path


def decoded(path: Path) -> tuple[list[Any], list[Any]]:
    """Return all frames and all sound of a file."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    with av.open(str(path)) as container:
        return frames, list(container.decode(audio=0))


def planes_of(frame: Any) -> list[np.ndarray]:
    image, height = frame.to_ndarray(format="yuv420p"), frame.height
    quarter = height // 4
    chroma = image[height:].reshape(2, quarter * 2, frame.width // 2)
    return [image[:height], chroma[0], chroma[1]]


def from_planes(planes: Sequence[np.ndarray], number: int) -> Any:
    height, width = planes[0].shape
    image = np.concatenate([np.ascontiguousarray(plane).reshape(-1) for plane in planes]).reshape(-1, width)
    assert image.shape[0] == height * 3 // 2
    frame = av.VideoFrame.from_ndarray(image, format="yuv420p")
    frame.pts, frame.time_base = number, 1 / Fraction(CONFIG.rate)
    return frame


def set_matrix(path: Path, matrix: tuple[int, int, int, int], shift: tuple[int, int]) -> Path:
    """Write a display matrix (a, b, c, d) and its shift in pixels into the video track's header."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    a, b, c, d, x, y = (value << 16 for value in (*matrix, *shift))
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, x, y, 1 << 30)
    path.write_bytes(content)
    return path


def cut_start(path: Path, source: Path) -> Path:
    """Put black frames and silence before a clip, and let the edit list of the mp4 hide it."""
    skipped = round(SKIPPED_S * CONFIG.fps)
    frames, sounds = decoded(source)
    with av.open(str(path), "w") as target:
        picture = target.add_stream("libx264", rate=CONFIG.rate, options=LOSSLESS | {"bf": "0"})
        picture.width, picture.height, picture.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
        hz = sounds[0].sample_rate
        sound = target.add_stream("pcm_s16le" if path.suffix == ".mov" else "flac", hz, layout="mono")
        black = [np.zeros_like(plane) for plane in planes_of(frames[0])]
        packets = []
        for number in range(skipped + len(frames)):
            planes = black if number < skipped else planes_of(frames[number - skipped])
            packets += picture.encode(from_planes(planes, number))
        packets += picture.encode(None)
        samples = np.concatenate([frame.to_ndarray()[0] for frame in sounds])
        samples = np.rint(np.concatenate([np.zeros(round(SKIPPED_S * hz)), samples]) * 32767).astype(np.int16)
        for start in range(0, len(samples), 4096):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + 4096], "s16", "mono")
            frame.sample_rate, frame.pts, frame.time_base = hz, start, Fraction(1, hz)
            packets += sound.encode(frame)
        packets += sound.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            target.mux(packet)
    content = bytearray(path.read_bytes())
    at = -1
    while (at := content.find(b"elst", at + 1)) >= 0:
        (timescale,) = struct.unpack_from(">I", content, content.index(b"mdhd", at) + 16)
        duration, media_time = struct.unpack_from(">Ii", content, at + 12)
        struct.pack_into(
            ">Ii", content, at + 12, duration - round(1000 * SKIPPED_S), media_time + round(SKIPPED_S * timescale)
        )
    path.write_bytes(content)
    return path


def rotated(turns: int) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    return lambda planes: [np.rot90(plane, turns) for plane in planes]


def mirrored(planes: list[np.ndarray]) -> list[np.ndarray]:
    return [plane[:, ::-1] for plane in planes]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clip in lossless H.264, with AAC."""
    folder = tmp_path_factory.mktemp("forms")
    encode_video(plan_clips(CONFIG)[0], CONFIG, folder / "simulated.mp4")
    return encode(folder / "original.mp4", folder / "simulated.mp4", "libx264", "copy")


@pytest.fixture(scope="module")
def predictor(bundle: Bundle) -> Predictor:
    return Predictor(replace(bundle, media=MediaSettings(segments=4, pixels=16, frames_per_segment=1).to_dict()))


def scores(predictor: Predictor, path: Path) -> np.ndarray:
    prediction = predictor.predict(path, "hello there", allow_no_face=True)
    return np.array([[scores[target] for target in TARGETS] for scores in prediction.streams.values()])


def copies(source: Path) -> Iterator[tuple[str, Callable[[Path], Path]]]:
    """Yield the name of each form with the same bitstream, and what writes it."""
    yield "remuxed.mp4", lambda path: mux(path, source, movflags="faststart")
    yield "fragments.mp4", lambda path: mux(path, source, movflags="frag_keyframe+empty_moov+delay_moov")
    yield "a.mkv", lambda path: mux(path, source)
    yield "a.mov", lambda path: mux(path, source)
    yield "a.ts", lambda path: mux(path, source)
    yield "a.flv", lambda path: mux(path, source)
    yield "plus1000.mkv", lambda path: mux(path, source, 1000.0)
    yield "plus1000.ts", lambda path: mux(path, source, 1000.0)


def turned(source: Path) -> Iterator[tuple[str, Callable[[Path], Path]]]:
    """Yield the name of each form whose picture is stored turned or mirrored, and what writes it."""
    w, h = size_of(source)
    for degrees, turns, matrix, shift in (
        (90, 1, (0, 1, -1, 0), (h, 0)),
        (180, 2, (-1, 0, 0, -1), (w, h)),
        (270, 3, (0, -1, 1, 0), (0, w)),
    ):
        yield (
            f"rotated{degrees}.mp4",
            lambda path, turns=turns, matrix=matrix, shift=shift: set_matrix(
                encode(path, source, "libx264", "copy", rotated(turns)), matrix, shift
            ),
        )
    yield (
        "mirrored.mp4",
        lambda path: set_matrix(encode(path, source, "libx264", "copy", mirrored), (-1, 0, 0, 1), (w, 0)),
    )


def size_of(path: Path) -> tuple[int, int]:
    with av.open(str(path)) as container:
        return container.streams.video[0].width, container.streams.video[0].height


COPIES = ["remuxed.mp4", "fragments.mp4", "a.mkv", "a.mov", "a.ts", "a.flv", "plus1000.mkv", "plus1000.ts"]
TURNED = ["rotated90.mp4", "rotated180.mp4", "rotated270.mp4", "mirrored.mp4"]


@pytest.fixture(scope="module")
def expected(predictor: Predictor, original: Path) -> np.ndarray:
    return scores(predictor, original)


@pytest.mark.parametrize(
    ("forms", "name", "bound"),
    [*((copies, name, SAME_BITSTREAM) for name in COPIES), *((turned, name, SAME_PICTURE) for name in TURNED)],
    ids=[*COPIES, *TURNED],
)
def test_container_clock_and_display_matrix_do_not_change_the_scores(
    predictor: Predictor, original: Path, expected: np.ndarray, tmp_path: Path, forms: Any, name: str, bound: float
) -> None:
    path = dict(forms(original))[name](tmp_path / name)
    np.testing.assert_allclose(scores(predictor, path), expected, atol=bound)


def test_the_container_does_not_change_the_scores_of_a_real_clip(
    predictor: Predictor, media_dir: Path, tmp_path: Path
) -> None:
    original = media_dir / "address_1.mp4"
    expected = scores(predictor, original)
    for name, write in copies(original):
        np.testing.assert_allclose(scores(predictor, write(tmp_path / name)), expected, atol=SAME_PICTURE, err_msg=name)


def test_an_edit_list_does_not_change_the_scores(
    predictor: Predictor, original: Path, expected: np.ndarray, tmp_path: Path
) -> None:
    path = cut_start(tmp_path / "a.mp4", original)
    np.testing.assert_allclose(scores(predictor, path), expected, atol=SAME_PICTURE)


def test_a_variable_frame_rate_scores_the_same(
    predictor: Predictor, original: Path, expected: np.ndarray, tmp_path: Path
) -> None:
    # The other frames may be missing, even those nearer to the middles. The last one keeps the length.
    path = encode(
        tmp_path / "a.mkv", original, "libx264", "copy", keep=lambda number: number in ON_SCREEN | {0, 25, 49}
    )
    np.testing.assert_allclose(scores(predictor, path), expected, atol=SAME_BITSTREAM)


def test_other_frames_and_other_sound_score_differently(
    predictor: Predictor, original: Path, expected: np.ndarray, tmp_path: Path
) -> None:
    upside_down = encode(tmp_path / "a.mp4", original, "libx264", "copy", rotated(2))
    assert np.abs(scores(predictor, upside_down) - expected)[:2].max() > 2 * TRANSCODED
    silent = encode(tmp_path / "b.mp4", original, "libx264", "copy", keep=lambda number: number > 10)
    assert np.abs(scores(predictor, silent) - expected).max() > 50 * SAME_BITSTREAM


@pytest.mark.parametrize(
    ("name", "video", "audio", "options"),
    [
        ("a.webm", "libvpx", "libopus", {"crf": "4", "b": "2M"}),
        ("a.avi", "mpeg4", "pcm_s16le", {"qmin": "2", "qmax": "2"}),
        ("a.mpg", "mpeg2video", "mp2", {"qmin": "2", "qmax": "2"}),
    ],
)
def test_transcoded_forms_score_nearly_the_same(
    predictor: Predictor, original: Path, expected: np.ndarray, tmp_path: Path,
    name: str, video: str, audio: str, options: dict[str, str],
) -> None:  # fmt: skip
    path = encode(tmp_path / name, original, video, audio, video_options=options)
    np.testing.assert_allclose(scores(predictor, path), expected, atol=TRANSCODED)
