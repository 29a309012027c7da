"""From decoded frames to RGB as an ordinary display (SDR, BT.709) shows it.

FFmpeg's scaler turns YUV into RGB by a frame's matrix and range. It has to be told the matrix of files that state none,
and it changes neither the transfer function nor the primaries. High dynamic range (PQ, HLG) and wide gamuts (BT.2020,
P3) are therefore converted here: to linear light by a table, to the primaries of BT.709 by a 3x3 matrix, and back by a
second table. The codes of matrix, transfer function and primaries are those of ITU-T H.273.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from crnet.errors import MediaError
from crnet.media.pyav import Interpolation, VideoReformatter, av
from crnet.media.side_data import side_data_of

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, UInt8, UInt16

SCALING = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
"""Area averaging, and the same bytes on every processor."""

UNSPECIFIED = 2
MATRIX_BT709, MATRIX_BT601, MATRIX_BT2020, MATRIX_BY_PRIMARIES = 1, 5, 9, 12
KNOWN_MATRICES = frozenset({0, 1, 2, 4, 5, 6, 7, 9})  # others end FFmpeg's scaler with an error
PQ, HLG = 16, 18
CONVERTED_TRANSFERS = frozenset({0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 14, 15, PQ, HLG})  # all but PQ and HLG: like SDR
PRIMARIES_BT2020, PRIMARIES_DCI_P3, PRIMARIES_DISPLAY_P3 = 9, 11, 12

HD_WIDTH, SD_HEIGHT = 1280, 576
"""Without a stated matrix, players take BT.709 for pictures at least so wide or higher than this, else BT.601."""

SDR_WHITE_NITS = 203.0
"""Luminance in HDR that becomes white in SDR (ITU-R BT.2408, reference white)."""
HLG_PEAK_NITS = 1000.0
HLG_SYSTEM_GAMMA = 1.2  # ITU-R BT.2100, for a peak of 1000 cd/m2
DISPLAY_GAMMA = 2.4  # ITU-R BT.1886
SHOULDER = 0.9
"""Signal from which highlights of HDR are compressed; SDR white becomes 0.963 (246 of 255) and leaves room for them."""

XY_PRIMARIES = {
    MATRIX_BT709: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    PRIMARIES_BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    PRIMARIES_DCI_P3: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    PRIMARIES_DISPLAY_P3: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
"""Chromaticities of red, green and blue (H.273 table 2)."""
XY_WHITE = (0.3127, 0.3290)  # D65; the white of DCI P3 is shown as this one

LARGEST_LINEAR = 2.0  # above it, the shoulder is white
OUTPUT_STEPS = 4096
"""Entries of the table from linear light to the output: two of them differ by a third of a level of 255 at most."""


def to_rgb(
    picture: Any, reformatter: VideoReformatter | None = None, size: tuple[int, int] | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Return a decoded frame (`av.VideoFrame`) as RGB for an ordinary display.

    Args:
        picture: The frame, after `complete_tags`.
        reformatter: Reused for frames that are scaled to the same size.
        size: Width and height; None keeps the frame's.

    Raises:
        MediaError: FFmpeg's scaler does not know the frame's format.
    """
    conversion = _conversion_of(picture)
    pixel_format = "rgb24" if conversion is None else "rgb48le"
    try:
        if size is None:
            image = picture.reformat(format=pixel_format, threads=1)
        else:
            scaler = reformatter or VideoReformatter()
            image = scaler.reformat(picture, *size, pixel_format, interpolation=SCALING, threads=1)
    except (av.FFmpegError, OSError) as error:
        reason = f"frames in the pixel format {picture.format.name} cannot be converted to RGB"
        raise MediaError(reason, remedy="convert the video to H.264 first") from error
    pixels: UInt8[np.ndarray, "h w 3"] = image.to_ndarray()
    return pixels if conversion is None else conversion.apply(pixels)


def complete_tags(picture: Any) -> None:
    """Set a frame's matrix where it states none, or one that FFmpeg's scaler does not know, as players assume it."""
    matrix = picture.colorspace
    if matrix in KNOWN_MATRICES and matrix != UNSPECIFIED:
        return
    if _primaries_of(picture.color_primaries, matrix, picture.color_trc) == PRIMARIES_BT2020:
        picture.colorspace = MATRIX_BT2020
    elif picture.width >= HD_WIDTH or picture.height > SD_HEIGHT:
        picture.colorspace = MATRIX_BT709
    else:
        picture.colorspace = MATRIX_BT601


def colour_warning(picture: Any) -> str | None:
    """Return what a user should know about the colours of a decoded frame, before `complete_tags`; None if nothing."""
    side_data = {data.type.name for data in side_data_of(picture) or ()}
    if side_data & {"DOVI_METADATA", "DOVI_RPU_BUFFER"} and picture.color_trc in (0, UNSPECIFIED):
        kind = "Dolby Vision without a standard picture"
    elif not picture.format.is_rgb and picture.colorspace not in KNOWN_MATRICES | {MATRIX_BY_PRIMARIES}:
        kind = f"colour matrix {picture.colorspace} of H.273"
    elif picture.color_trc not in CONVERTED_TRANSFERS:
        kind = f"transfer function {picture.color_trc} of H.273"
    else:
        return None
    return f"the colours may be wrong: {kind} cannot be converted"


@dataclass(frozen=True, eq=False)
class _Conversion:
    """Tables from R'G'B' in some transfer function and primaries to 8-bit R'G'B' of BT.709.

    Attributes:
        linear: Linear light of each 16-bit level; 1 is SDR white.
        to_bt709: Matrix for linear RGB.
        output: Level of 255 for linear light, `LARGEST_LINEAR` (i / (OUTPUT_STEPS - 1))^2 at index i.
    """

    linear: Float32[np.ndarray, " 65536"]
    to_bt709: Float64[np.ndarray, "3 3"]
    output: UInt8[np.ndarray, " steps"]

    def apply(self, image: UInt16[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
        """Convert an image. One operation at a time, so that every processor rounds alike."""
        red, green, blue = (self.linear[image[..., i]] for i in range(3))
        converted = np.empty(image.shape, dtype=np.uint8)
        for i, (r, g, b) in enumerate(self.to_bt709.astype(np.float32)):
            light = np.clip(r * red + g * green + b * blue, 0, LARGEST_LINEAR)
            index = np.sqrt(light / np.float32(LARGEST_LINEAR)) * np.float32(OUTPUT_STEPS - 1)
            converted[..., i] = self.output[np.rint(index).astype(np.int32)]
        return converted


def _conversion_of(picture: Any) -> _Conversion | None:
    """Return how the RGB of a frame is converted; None if it is meant for an ordinary display already."""
    return _conversion(picture.color_trc, _primaries_of(picture.color_primaries, picture.colorspace, picture.color_trc))


def _primaries_of(primaries: int, matrix: int, transfer: int) -> int:
    """Return the stated primaries, or those that the matrix or the transfer function comes with."""
    if primaries == UNSPECIFIED and (matrix in (MATRIX_BT2020, 10) or transfer in (PQ, HLG)):
        return PRIMARIES_BT2020
    return primaries if primaries in XY_PRIMARIES else MATRIX_BT709


@lru_cache(maxsize=16)
def _conversion(transfer: int, primaries: int) -> _Conversion | None:
    is_hdr = transfer in (PQ, HLG)
    if not is_hdr and primaries == MATRIX_BT709:
        return None
    signal = np.arange(65536) / 65535
    light = {PQ: pq_to_linear, HLG: hlg_to_linear}.get(transfer, _sdr_to_linear)(signal)
    to_bt709 = np.linalg.inv(_rgb_to_xyz(MATRIX_BT709)) @ _rgb_to_xyz(primaries)
    steps = LARGEST_LINEAR * (np.arange(OUTPUT_STEPS) / (OUTPUT_STEPS - 1)) ** 2
    output = linear_to_sdr(steps, shoulder=SHOULDER if is_hdr else 1.0)
    return _Conversion(light.astype(np.float32), to_bt709, np.rint(output * 255).astype(np.uint8))


def pq_to_linear(signal: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Return the light of PQ signals in [0, 1] (SMPTE ST 2084), where 1 is SDR white."""
    m1, m2 = 2610 / 16384, 2523 / 32
    c1, c2, c3 = 3424 / 4096, 2413 / 128, 2392 / 128
    power = signal ** (1 / m2)
    return (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1) * (10_000 / SDR_WHITE_NITS)


def hlg_to_linear(signal: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Return the light of HLG signals in [0, 1] (ITU-R BT.2100), where 1 is SDR white.

    The system gamma is applied to each channel, as a camera for SDR and FFmpeg's zscale do, not to luminance: the
    networks learned from SDR.
    """
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return scene**HLG_SYSTEM_GAMMA * (HLG_PEAK_NITS / SDR_WHITE_NITS)


def _sdr_to_linear(signal: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    return signal**DISPLAY_GAMMA


def linear_to_sdr(light: Float64[np.ndarray, " n"], shoulder: float = SHOULDER) -> Float64[np.ndarray, " n"]:
    """Return the signal in [0, 1] of linear light, where 1 is SDR white.

    Up to `shoulder` the signal is that of BT.1886; from there it approaches 1 exponentially, with the same slope.
    """
    signal = np.maximum(light, 0) ** (1 / DISPLAY_GAMMA)
    if shoulder >= 1:
        return np.minimum(signal, 1)
    room = 1 - shoulder
    return np.where(signal <= shoulder, signal, 1 - room * np.exp(-np.maximum(signal - shoulder, 0) / room))


def _rgb_to_xyz(primaries: int) -> Float64[np.ndarray, "3 3"]:
    """Return the matrix from linear RGB to XYZ (SMPTE RP 177)."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in XY_PRIMARIES[primaries]]).T
    x, y = XY_WHITE
    white = np.array([x / y, 1, (1 - x - y) / y])
    return columns * np.linalg.solve(columns, white)
