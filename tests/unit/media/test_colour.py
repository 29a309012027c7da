"""Colours of HDR, wide gamuts, ranges, bit depths and untagged files, compared with values worked by hand."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from crnet.errors import MediaError
from crnet.media.colour import colour_warning, complete_tags, hlg_to_linear, linear_to_sdr, pq_to_linear, to_rgb
from crnet.media.video import decode, probe

PQ, HLG, BT709, BT2020, DISPLAY_P3 = 16, 18, 1, 9, 12
UNSPECIFIED, MPEG_RANGE, JPEG_RANGE = 2, 1, 2

# Linear BT.709 to BT.2020, ITU-R BT.2087 equation 2.
TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])


def pq_signal(nits: np.ndarray) -> np.ndarray:
    """ST 2084, equation 5.2, the inverse of what is tested."""
    power = (np.asarray(nits) / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def frame_of(signal: np.ndarray, transfer: int, primaries: int = BT2020, size: int = 8) -> av.VideoFrame:
    """Return a frame of one colour, R'G'B' in [0, 1]."""
    image = np.tile(np.rint(np.asarray(signal) * 65535).astype(np.uint16), (size, size, 1))
    frame = av.VideoFrame.from_ndarray(image, "rgb48le")
    frame.color_trc, frame.color_primaries = transfer, primaries
    return frame


def untagged(image: np.ndarray, matrix: str, pixel_format: str = "yuv420p") -> av.VideoFrame:
    """Return a YUV frame that was converted with a matrix but does not state it."""
    frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=pixel_format, dst_colorspace=matrix)
    frame.colorspace = UNSPECIFIED
    return frame


def write_frames(path: Path, frame: av.VideoFrame, codec: str = "ffv1", **tags: int) -> Path:
    """Write a frame three times, with colour tags of the codec context."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, frame.format.name
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        for i in range(3):
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


class TestTransferFunctions:
    def test_pq(self) -> None:
        # BT.2408 table 1: 203 cd/m2, our white, is a signal of 58%; 100 cd/m2 is 50.81%, 1 is 10,000 cd/m2.
        light = pq_to_linear(np.array([0.0, 0.5081, 0.5807, 1.0]))
        np.testing.assert_allclose(light, [0, 100 / 203, 1, 10_000 / 203], rtol=2e-3)

    def test_hlg(self) -> None:
        # BT.2100: signal 0.5 is scene light 1/12, 1 is 1; display light is scene light^1.2 * 1000 cd/m2.
        light = hlg_to_linear(np.array([0.0, 0.5, 0.75, 1.0]))
        np.testing.assert_allclose(light, [0, (1 / 12) ** 1.2 * 1000 / 203, 1, 1000 / 203], rtol=3e-3)

    def test_the_shoulder(self) -> None:
        # 0.5^2.4 = 0.18946. White: 0.9 + 0.1 (1 - 1/e) = 0.96321.
        np.testing.assert_allclose(linear_to_sdr(np.array([0, 0.18946, 1, 1e9])), [0, 0.5, 0.96321, 1], atol=1e-4)
        np.testing.assert_allclose(linear_to_sdr(np.array([0.5**2.4, 1, 2]), shoulder=1), [0.5, 1, 1], atol=1e-9)
        steps = linear_to_sdr(np.linspace(0, 2, 1000))
        assert (np.diff(steps) > 0).all()


class TestToRgb:
    @pytest.mark.parametrize(
        ("transfer", "signal", "level"),
        [
            (PQ, 0.0, 0),
            (PQ, 0.50808, 190),  # 100 cd/m2: (100/203)^(1/2.4) = 0.7446
            (PQ, 0.58069, 246),  # 203 cd/m2: 0.96321
            (PQ, 1.0, 255),
            (HLG, 0.5, 143),  # (4.9261 * 0.05070)^(1/2.4) = 0.5609
            (HLG, 0.75, 246),
            (HLG, 1.0, 255),
        ],
    )
    def test_greys_of_hdr(self, transfer: int, signal: float, level: int) -> None:
        assert np.abs(to_rgb(frame_of([signal] * 3, transfer)).astype(int) - level).max() <= 1

    @pytest.mark.parametrize("colour", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.5, 0.3, 0.2)])
    def test_colours_of_bt709_come_back_from_pq(self, colour: tuple[float, ...]) -> None:
        # At 100 cd/m2 a linear value v is shown as 255 (v * 100/203)^(1/2.4).
        rgb = to_rgb(frame_of(pq_signal(100 * (TO_BT2020 @ colour)), PQ))[0, 0]
        expected = 255 * (np.array(colour) * 100 / 203) ** (1 / 2.4)
        np.testing.assert_allclose(rgb, expected, atol=8)  # BT.2087 rounds its matrix; 8 of 255 is 2e-4 of light
        assert rgb.argmax() == int(np.argmax(colour))

    def test_bt2020_without_hdr(self) -> None:
        colour = np.array([0.5, 0.3, 0.2])
        rgb = to_rgb(frame_of((TO_BT2020 @ colour) ** (1 / 2.4), 14))[0, 0]
        np.testing.assert_allclose(rgb, 255 * colour ** (1 / 2.4), atol=1)
        assert to_rgb(frame_of([1, 1, 1], 14)).min() == 255

    def test_display_p3(self) -> None:
        # Red of BT.709 is 0.8225 0.0332 0.0171 in linear Display P3.
        rgb = to_rgb(frame_of(np.array([0.8225, 0.0332, 0.0171]) ** (1 / 2.4), BT709, DISPLAY_P3))[0, 0]
        np.testing.assert_allclose(rgb, [255, 0, 0], atol=6)

    def test_ordinary_colours_are_those_of_the_scaler(self) -> None:
        image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        for pixel_format in ("yuv420p", "yuv444p", "yuvj420p", "rgb24", "gray"):
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=pixel_format)
            for primaries in (UNSPECIFIED, BT709, 6):
                frame.color_primaries = primaries
                assert (to_rgb(frame) == frame.to_ndarray(format="rgb24")).all()

    def test_a_format_that_the_scaler_does_not_know_is_an_error_with_a_reason(self) -> None:
        frame = untagged(np.zeros((48, 64, 3), np.uint8), "ITU601")
        frame.colorspace = 8  # without `complete_tags`
        with pytest.raises(MediaError, match="pixel format yuv420p"):
            to_rgb(frame)


class TestCompleteTags:
    @pytest.mark.parametrize(
        ("width", "height", "matrix"),
        [(640, 480, "ITU601"), (720, 576, "ITU601"), (1280, 720, "ITU709"), (720, 1280, "ITU709")],
    )
    def test_the_size_decides_the_matrix_of_an_untagged_picture(self, width: int, height: int, matrix: str) -> None:
        image = np.full((height, width, 3), (200, 40, 60), np.uint8)
        frame = untagged(image, matrix)
        complete_tags(frame)
        assert np.abs(to_rgb(frame).astype(int) - image).max() <= 3

    @pytest.mark.parametrize("tags", [{"color_trc": PQ}, {"color_trc": HLG}, {"color_primaries": BT2020}])
    def test_hdr_and_wide_gamuts_have_the_matrix_of_bt2020(self, tags: dict[str, int]) -> None:
        frame = untagged(np.zeros((48, 64, 3), np.uint8), "ITU601")
        for name, value in tags.items():
            setattr(frame, name, value)
        complete_tags(frame)
        assert frame.colorspace == BT2020

    def test_a_stated_matrix_stays(self) -> None:
        frame = untagged(np.full((720, 1280, 3), (200, 40, 60), np.uint8), "ITU601")
        frame.colorspace = 6
        complete_tags(frame)
        assert frame.colorspace == 6 and np.abs(to_rgb(frame)[0, 0].astype(int) - (200, 40, 60)).max() <= 3

    @pytest.mark.parametrize("matrix", [3, 8, 10, 11, 13, 14, 15, 16, 17])
    def test_a_matrix_that_the_scaler_does_not_know_is_a_warning(self, matrix: int) -> None:
        frame = untagged(np.full((48, 64, 3), 90, np.uint8), "ITU601", "yuv444p")
        frame.colorspace = matrix
        assert "colours may be wrong" in (colour_warning(frame) or "")
        complete_tags(frame)
        assert np.abs(to_rgb(frame).astype(int) - 90).max() <= 1  # grey is grey in every matrix


class TestVideos:
    @pytest.mark.parametrize("transfer", [PQ, HLG])
    @pytest.mark.parametrize("codec", ["ffv1", "libx265"])
    def test_hdr_is_shown_as_sdr(self, tmp_path: Path, transfer: int, codec: str) -> None:
        signal = {PQ: 0.50808, HLG: 0.5}[transfer]
        frame = av.VideoFrame(64, 48, "yuv420p10le")
        for plane, level in zip(frame.planes, (round(64 + 876 * signal), 512, 512), strict=True):
            plane.update(np.full(plane.buffer_size // 2, level, np.uint16))
        tags = {"color_trc": transfer, "color_primaries": BT2020, "colorspace": BT2020, "color_range": MPEG_RANGE}
        info = probe(write_frames(tmp_path / "a.mkv", frame, codec, **tags))
        assert not info.warnings
        decoded = next(decode(info.path, info))
        part, corner = decoded.rgb_part(np.array([30, 20, 40, 30], np.float32))
        assert part.shape == (12, 12, 3) and corner == (30, 20)
        for image in (decoded.rgb(16, 16), decoded.rgb_full(), part):
            assert np.abs(image.astype(int) - {PQ: 190, HLG: 143}[transfer]).max() <= 2

    @pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le", "yuv422p10le", "yuv444p12le"])
    @pytest.mark.parametrize("color_range", [MPEG_RANGE, JPEG_RANGE])
    def test_ranges_and_depths(self, tmp_path: Path, pixel_format: str, color_range: int) -> None:
        bits = av.VideoFormat(pixel_format).components[0].bits
        low, scale = (16, 219) if color_range == MPEG_RANGE else (0, 255)
        unit = 1 << (bits - 8)
        level = round((low + scale * 0.6) * unit if color_range == MPEG_RANGE else 0.6 * ((1 << bits) - 1))
        frame = av.VideoFrame(64, 48, pixel_format)
        for i, plane in enumerate(frame.planes):
            value = 128 * unit if i else level
            kind = np.uint8 if bits == 8 else np.uint16
            plane.update(np.full(plane.buffer_size // kind().itemsize, value, kind))
        info = probe(write_frames(tmp_path / "a.mkv", frame, colorspace=BT709, color_range=color_range))
        decoded = next(decode(info.path, info))
        for image in (decoded.rgb(16, 16), decoded.rgb_full()):
            assert np.abs(image.astype(int) - 153).max() <= 2  # 0.6 * 255

    @pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le", "yuv420p12le", "yuv422p10le", "yuv444p12le"])
    @pytest.mark.parametrize("transfer", [BT709, HLG])
    def test_a_part_equals_that_part_of_the_whole(self, tmp_path: Path, pixel_format: str, transfer: int) -> None:
        rng = np.random.default_rng(0)
        image = rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)
        frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=pixel_format)
        info = probe(write_frames(tmp_path / "a.mkv", frame, color_trc=transfer, colorspace=BT2020))
        decoded = next(decode(info.path, info))
        whole = decoded.rgb_full()
        for _ in range(20):
            corner = rng.uniform(-20, 120, 2)
            box = np.concatenate([corner, corner + rng.uniform(1, 60, 2)]).astype(np.float32)
            part, (x, y) = decoded.rgb_part(box)
            assert (part == whole[y : y + part.shape[0], x : x + part.shape[1]]).all()

    def test_a_matrix_that_cannot_be_converted_is_a_warning_of_the_video(self, tmp_path: Path) -> None:
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), "rgb24").reformat(format="yuv444p")
        info = probe(write_frames(tmp_path / "a.mkv", frame, "libx264", colorspace=8))
        assert len(info.warnings) == 1 and "colour matrix 8" in info.warnings[0]
        assert np.abs(next(decode(info.path, info)).rgb_full().astype(int) - 90).max() <= 2
