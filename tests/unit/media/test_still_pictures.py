"""A photo is not a video: what holds a single picture is refused unless somebody asks for it."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import simplejpeg
from video_maker import write_video

from crnet.data.manifest import read_manifest
from crnet.data.prepare import prepare
from crnet.errors import NotScoredError
from crnet.media.reader import read_video
from crnet.media.settings import MediaSettings
from crnet.media.video import probe
from crnet.types import TARGETS

SMALL = MediaSettings(segments=4, pixels=32)
IMAGES = [np.full((48, 64, 3), level, np.uint8) for level in (60, 140)]


def exif(orientation: int) -> bytes:
    """Return the segment of a JPEG file that says how to turn it: one entry of a TIFF directory."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    body = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def write_jpeg(path: Path, orientation: int | None = None) -> Path:
    content = simplejpeg.encode_jpeg(IMAGES[0], 90, "RGB")
    path.write_bytes(content if orientation is None else content[:2] + exif(orientation) + content[2:])
    return path


def write_gif(path: Path, images: list[np.ndarray]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("gif", rate=5)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "rgb8"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24").reformat(format="rgb8")))
        container.mux(stream.encode(None))
    return path


def write_still(path: Path) -> Path:
    match path.suffix:
        case ".jpg":
            return write_jpeg(path)
        case ".gif":
            return write_gif(path, IMAGES[:1])
        case ".png" | ".bmp":
            codec = av.CodecContext.create(path.suffix[1:], "w")
            codec.height, codec.width, codec.time_base = 48, 64, Fraction(1, 25)
            codec.pix_fmt = "rgb24" if path.suffix == ".png" else "bgr24"
            frame = av.VideoFrame.from_ndarray(IMAGES[0], "rgb24").reformat(format=codec.pix_fmt)
            path.write_bytes(b"".join(bytes(packet) for packet in codec.encode(frame) + codec.encode(None)))
            return path
    sound = np.full((1, 16_000), 0.1, np.float32) if "sound" in path.stem else None
    return write_video(path, IMAGES[:1], sound=sound)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp", "a.gif", "a.mp4", "a.mkv", "with sound.mp4"])
def test_a_single_picture_is_read_only_if_asked_for(tmp_path: Path, name: str) -> None:
    path = write_still(tmp_path / name)
    with pytest.raises(NotScoredError, match=f"{name}: a still picture, not a video"):
        read_video(path, SMALL)
    clip = read_video(path, SMALL, allow_still=True)
    assert clip.segment.tolist() == [0, 1, 2, 3] and (clip.width, clip.height) == (64, 48)
    assert "a still picture, not a video: every frame is the same" in clip.warnings


def test_a_photo_with_the_name_of_a_video_is_a_photo(tmp_path: Path) -> None:
    assert probe(write_jpeg(tmp_path / "a.mp4")).is_still


def test_two_pictures_are_a_video(tmp_path: Path) -> None:
    assert not probe(write_gif(tmp_path / "a.gif", IMAGES)).is_still
    assert not probe(write_video(tmp_path / "a.mp4", IMAGES)).is_still


@pytest.mark.parametrize(("orientation", "size"), [(1, (64, 48)), (3, (64, 48)), (6, (48, 64)), (8, (48, 64))])
def test_a_photo_with_data_of_its_camera_is_turned_as_they_say(
    tmp_path: Path, orientation: int, size: tuple[int, int]
) -> None:
    info = probe(write_jpeg(tmp_path / "a.jpg", orientation))
    assert info.is_still and (info.width, info.height) == size


def test_a_data_set_keeps_clips_without_a_face_but_no_stills(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    write_video(source / "nobody.mp4", IMAGES * 3)
    write_still(source / "still.mp4")
    rows = [f"{name},train," + ",".join(["0.5"] * 6) for name in ("nobody.mp4", "still.mp4")]
    (source / "clips.csv").write_text("\n".join(["clip,split," + ",".join(TARGETS), *rows]))
    (failure,) = prepare(source, tmp_path / "store", settings=SMALL, workers=0).failures
    (clip,) = read_manifest(tmp_path / "store").clips
    assert (clip.clip_id, clip.faces_found) == ("nobody.mp4", 0)
    assert "no face was found; the centre of the picture is used instead" in clip.warnings
    assert failure.clip == "still.mp4" and failure.reason == "a still picture, not a video"
