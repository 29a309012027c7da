"""Small square pictures out of a frame at its full resolution: of a face's box, or of the box with a margin."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import simplejpeg
import torch
import torch.nn.functional as functional
from jaxtyping import Float32, Int64, UInt8

from crnet.media.mtcnn import squared

if TYPE_CHECKING:
    from crnet.media.video import Frame, VideoInfo


@dataclass(frozen=True, eq=False)
class View:
    """A part of a frame at its full resolution, converted to RGB once for all pictures that are cut out of it.

    With it `prepare` takes 2.13 to 2.16 times bare decoding, in turns with 2.13 to 2.28 of converting for each picture.
    Boxes are given in displayed pixels of the whole frame.

    Attributes:
        image: The part.
        corner: Its upper left corner (x, y), in pixels of the whole frame at full resolution.
        size: Width and height of the whole frame at full resolution.
        scale: Pixels at full resolution per displayed pixel, for x0 y0 x1 y1.
    """

    image: UInt8[np.ndarray, "h w 3"]
    corner: tuple[int, int]
    size: tuple[int, int]
    scale: Float32[np.ndarray, " 4"]

    @classmethod
    def of(cls, frame: Frame, info: VideoInfo, box: Float32[np.ndarray, " 4"]) -> View:
        """What a box shows of a frame."""
        width, height = frame.stored_size
        scale = np.array([width / info.width, height / info.height] * 2, dtype=np.float32)
        image, corner = frame.rgb_part(box * scale)
        return cls(image, corner, (width, height), scale)

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the frame: some formats cannot be converted in part, see `Frame.rgb_part`."""
        return self.image.shape[1::-1] == self.size

    def shows(self, box: Float32[np.ndarray, " 4"]) -> bool:
        """Whether a box's picture is the same as if it were cut out of the whole frame."""
        low, high = np.split(box * self.scale, 2)
        start, whole = np.array(self.corner), np.array(self.size)
        end = start + np.array(self.image.shape[1::-1])
        return bool((((start == 0) | (low >= start)) & ((end == whole) | (high <= end))).all())

    def picture(self, box: Float32[np.ndarray, " 4"], pixels: int) -> UInt8[np.ndarray, "p p 3"]:
        """What a square box shows, `pixels` wide."""
        return cut_out(self.image, box * self.scale - np.array(self.corner * 2, dtype=np.float32), pixels)


def with_margin(box: Float32[np.ndarray, " 4"], margin: float) -> Float32[np.ndarray, " 4"]:
    """The square around a face's box that is cut out; `margin` is a part of its side, see `FACE_MARGIN`."""
    square = squared(box[None])[0]
    side = square[2] - square[0]
    return square + side * margin * np.array([-1, -1, 1, 1], dtype=np.float32)


def cut_out(
    image: UInt8[np.ndarray, "H W 3"], box: Float32[np.ndarray, " 4"], pixels: int
) -> UInt8[np.ndarray, "pixels pixels 3"]:
    """A box of an image, scaled to a square by an antialiased filter. Beyond the image its edge is repeated."""
    height, width = image.shape[:2]
    x0, y0 = np.rint(box[:2]).astype(int)
    x1, y1 = np.maximum(np.rint(box[2:]).astype(int), (x0 + 1, y0 + 1))
    if x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height:
        piece = image[y0:y1, x0:x1]
    else:
        piece = image[np.clip(np.arange(y0, y1), 0, height - 1)][:, np.clip(np.arange(x0, x1), 0, width - 1)]
    tensor = torch.from_numpy(np.ascontiguousarray(piece)).permute(2, 0, 1)[None]
    scaled = functional.interpolate(tensor, (pixels, pixels), mode="bilinear", antialias=True)
    return np.ascontiguousarray(scaled[0].permute(1, 2, 0).numpy())


def encoded(image: UInt8[np.ndarray, "h w 3"], quality: int) -> bytes:
    """An RGB image as a JPEG file of quality 1 to 100."""
    return simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality, "RGB", "420")


class Pile:
    """JPEG files one after the other, as clips hold them.

    It takes them one by one, so that they lie in memory once.

    Args:
        files: The first ones.
    """

    def __init__(self, files: Iterable[bytes] = ()) -> None:
        self._bytes = bytearray()
        self._ends = [0]
        for file in files:
            self.add(file)

    def add(self, file: bytes) -> None:
        """Put a file at the end."""
        self._bytes += file
        self._ends.append(len(self._bytes))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, place: int) -> bytes:
        """The file at a place, from 0."""
        return bytes(self._bytes[self._ends[place] : self._ends[place + 1]])

    def arrays(self) -> tuple[UInt8[np.ndarray, " bytes"], Int64[np.ndarray, " k_plus_1"]]:
        """The bytes, not copied, and where each of the k files begins and the last one ends; then it takes no more."""
        return np.frombuffer(self._bytes, dtype=np.uint8), np.array(self._ends, dtype=np.int64)
