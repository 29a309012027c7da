"""How the stored picture of a video is turned and mirrored for display."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from crnet.media.pyav import SideDataType
from crnet.media.side_data import side_data_of

if TYPE_CHECKING:
    from jaxtyping import Float32, UInt8


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways to display a stored picture: transpose it first, then mirror it.

    Attributes:
        transposed: Rows become columns.
        mirrored_x: Left and right are exchanged, after the transposition.
        mirrored_y: Top and bottom are exchanged, after the transposition.
    """

    transposed: bool = False
    mirrored_x: bool = False
    mirrored_y: bool = False

    @classmethod
    def from_matrix(cls, a: float, b: float, c: float, d: float) -> Orientation:
        """Return the orientation nearest to a display matrix, which maps (x, y) to (a x + c y, b x + d y).

        Only the signs and the larger diagonal count: players show other angles than multiples of 90 degrees so rarely
        that no camera writes them.
        """
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(mirrored_x=a < 0, mirrored_y=d < 0)
        return cls(transposed=True, mirrored_x=c < 0, mirrored_y=b < 0)

    @classmethod
    def of_frame(cls, picture: Any) -> Orientation:
        """Return the orientation that a decoded frame (`av.VideoFrame`) carries; upright if it carries none.

        The matrix stems from the container or from the codec's own messages, and FFmpeg gives both to the frame. Its
        layout (av_display_matrix): a b u, c d v, x y w in 32-bit integers.
        """
        side_data = side_data_of(picture)
        if side_data is None:
            turned = np.deg2rad(picture.rotation)  # the same matrix without mirroring
            return cls.from_matrix(np.cos(turned), -np.sin(turned), np.sin(turned), np.cos(turned))
        for data in side_data:
            if data.type is SideDataType.DISPLAYMATRIX and data.buffer_size >= 36:
                a, b, _, c, d = np.frombuffer(data, np.int32, 5).tolist()
                return cls.from_matrix(a, b, c, d)
        return cls()

    @property
    def is_upright(self) -> bool:
        """Whether the stored picture is displayed as it is."""
        return self == Orientation()

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the displayed size of a stored one, or the stored size of a displayed one."""
        return (height, width) if self.transposed else (width, height)

    def apply(self, image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h2 w2 3"]:
        """Return the displayed image of a stored one, as a view."""
        if self.transposed:
            image = image.swapaxes(0, 1)
        return image[:: -1 if self.mirrored_y else 1, :: -1 if self.mirrored_x else 1]

    def stored_box(self, box: Float32[np.ndarray, " 4"], width: int, height: int) -> Float32[np.ndarray, " 4"]:
        """Return where a box of the displayed image, whose size is given, lies in the stored one."""
        x0, y0, x1, y1 = box
        if self.mirrored_x:
            x0, x1 = width - x1, width - x0
        if self.mirrored_y:
            y0, y1 = height - y1, height - y0
        return np.array([y0, x0, y1, x1] if self.transposed else [x0, y0, x1, y1], dtype=box.dtype)

    def displayed_box(self, box: tuple[int, int, int, int], width: int, height: int) -> tuple[int, int, int, int]:
        """Return where a box of the stored image lies in the displayed one, whose size is given."""
        x0, y0, x1, y1 = (box[1], box[0], box[3], box[2]) if self.transposed else box
        if self.mirrored_x:
            x0, x1 = width - x1, width - x0
        if self.mirrored_y:
            y0, y1 = height - y1, height - y0
        return x0, y0, x1, y1
