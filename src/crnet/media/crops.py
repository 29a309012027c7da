"""Square pictures cut from a frame at full resolution, and the JPEG files that clips hold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import simplejpeg

from crnet.media.boxes import square_boxes
from crnet.utils.resize import resize

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64, UInt8

    from crnet.media.video import Frame, VideoInfo


@dataclass(frozen=True, eq=False)
class FrameRegion:
    """A region of a frame at full resolution, converted to RGB once for all crops that are taken from it.

    All boxes are in displayed pixels of the whole frame.

    Attributes:
        image: The pixels of the region.
        corner: Its upper left corner (x, y), in full-resolution pixels of the whole frame.
        size: Width and height of the whole frame at full resolution.
        scale: Full-resolution pixels per displayed pixel, for x0 y0 x1 y1.
    """

    image: UInt8[np.ndarray, "h w 3"]
    corner: tuple[int, int]
    size: tuple[int, int]
    scale: Float32[np.ndarray, " 4"]

    @classmethod
    def from_frame(cls, frame: Frame, info: VideoInfo, box: Float32[np.ndarray, " 4"]) -> FrameRegion:
        """Convert the region of a frame that holds a box."""
        width, height = frame.stored_size
        scale = np.array([width / info.width, height / info.height] * 2, dtype=np.float32)
        image, corner = frame.rgb_part(box * scale)
        return cls(image, corner, (width, height), scale)

    @property
    def is_whole(self) -> bool:
        """Whether the region is the whole frame: some formats cannot be converted in part, see `Frame.rgb_part`."""
        return self.image.shape[1::-1] == self.size

    def contains(self, box: Float32[np.ndarray, " 4"]) -> bool:
        """Return whether a crop of the box is the same as one taken from the whole frame."""
        low, high = np.split(box * self.scale, 2)
        start, frame_end = np.array(self.corner), np.array(self.size)
        end = start + np.array(self.image.shape[1::-1])
        return bool((((start == 0) | (low >= start)) & ((end == frame_end) | (high <= end))).all())

    def crop(self, box: Float32[np.ndarray, " 4"], pixels: int) -> UInt8[np.ndarray, "p p 3"]:
        """Return the content of a square box as a picture `pixels` wide."""
        return crop_resize(self.image, box * self.scale - np.array(self.corner * 2, dtype=np.float32), pixels)


def with_margin(box: Float32[np.ndarray, " 4"], margin: float) -> Float32[np.ndarray, " 4"]:
    """Return the square around a box, enlarged on each side by `margin`, a share of its side."""
    square = square_boxes(box[None])[0]
    side = square[2] - square[0]
    return square + side * margin * np.array([-1, -1, 1, 1], dtype=np.float32)


def crop_resize(
    image: UInt8[np.ndarray, "H W 3"], box: Float32[np.ndarray, " 4"], pixels: int
) -> UInt8[np.ndarray, "pixels pixels 3"]:
    """Crop a box from an image and scale it to a square with an antialiasing filter.

    Outside the image, its edge pixels are repeated.
    """
    height, width = image.shape[:2]
    x0, y0 = np.rint(box[:2]).astype(int)
    x1, y1 = np.maximum(np.rint(box[2:]).astype(int), (x0 + 1, y0 + 1))
    if x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height:
        crop = image[y0:y1, x0:x1]
    else:
        crop = image[np.clip(np.arange(y0, y1), 0, height - 1)][:, np.clip(np.arange(x0, x1), 0, width - 1)]
    return resize(crop, pixels, pixels)


def encode_jpeg(image: UInt8[np.ndarray, "h w 3"], quality: int) -> bytes:
    """Encode an RGB image as a JPEG file of quality 1 to 100, with 4:2:0 chroma subsampling."""
    return simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality, "RGB", "420")


class JpegBuffer:
    """JPEG files in one block of bytes, as clips hold them. Files can be added, so memory holds them once.

    Args:
        files: The first files.
    """

    def __init__(self, files: Iterable[bytes] = ()) -> None:
        self._bytes = bytearray()
        self._ends = [0]
        for file in files:
            self.add(file)

    def add(self, file: bytes) -> None:
        """Append a file."""
        self._bytes += file
        self._ends.append(len(self._bytes))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> bytes:
        """Return a file by its index, from 0."""
        return bytes(self._bytes[self._ends[index] : self._ends[index + 1]])

    def arrays(self) -> tuple[UInt8[np.ndarray, " bytes"], Int64[np.ndarray, " k_plus_1"]]:
        """Return the bytes, without a copy, and the k + 1 offsets of the files. No file can be added afterwards."""
        return np.frombuffer(self._bytes, dtype=np.uint8), np.array(self._ends, dtype=np.int64)
