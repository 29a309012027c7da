"""Sound of many channels, of odd layouts, and with samples that are no numbers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from video_maker import write_video

from crnet.media.audio import read_audio

GREY = [np.full((16, 16, 3), 128, np.uint8)] * 5
READ = "import sys; from crnet.media.audio import read_audio; print(len(read_audio(sys.argv[1])))"


def tone(hz: float = 440.0, seconds: float = 1.0, rate_hz: int = 48_000, level: float = 0.3) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def rms(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean((sound / 32768) ** 2)))


FORMS = [
    ("a.mp4", "aac", "7.1", 8),  # planar float32
    ("a.mkv", "wavpack", "7.1", 8),  # planar int16
    ("a.mkv", "flac", "7.1(wide)", 8),
    ("a.mkv", "pcm_s16le", "hexadecagonal", 16),
    ("a.mov", "pcm_s24le", "22.2", 24),
    ("a.mkv", "wavpack", "22.2", 24),
    ("a.mkv", "pcm_f32le", "11 channels", 11),
    ("a.mkv", "pcm_s16le", "64 channels", 64),
    ("a.mp4", "aac", "6.1", 7),
    ("a.mkv", "flac", "2.1", 3),
    ("a.mkv", "pcm_f64le", "5.1", 6),
]


@pytest.mark.parametrize(("name", "codec", "layout", "channels"), FORMS)
def test_every_number_of_channels_can_be_read(
    tmp_path: Path, name: str, codec: str, layout: str, channels: int
) -> None:
    sound = np.tile(tone(60.0), (channels, 1))  # what a low-frequency channel keeps, too
    path = write_video(tmp_path / name, GREY, sound=sound, sound_hz=48_000, sound_codec=codec, layout=layout)
    # A crash of native code ends the other process, and fails only this test.
    other = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, timeout=120)
    assert other.returncode == 0, (other.returncode, other.stderr)
    samples = read_audio(path)
    assert len(samples) == int(other.stdout) and abs(len(samples) - 16_000) < 700  # AAC pads its last frame
    assert rms(samples[2000:14_000]) == pytest.approx(0.3 / 2**0.5, rel=0.02)


def test_samples_that_are_no_numbers_are_silence(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    sound = tone(300.0, rate_hz=16_000)[None]
    expected = sound[0].copy()
    for at, value in ((5000, np.nan), (7001, np.inf), (9007, -np.inf), (9011, 3e38)):
        sound[0, at], expected[at] = value, 0.0
    path = write_video(tmp_path / "a.mkv", GREY, sound=sound, sound_codec="pcm_f32le")
    samples = read_audio(path)
    assert len(samples) == 16_000
    np.testing.assert_allclose(samples / 32768, expected, atol=2 / 32768)
    assert not [str(w.message) for w in recwarn if issubclass(w.category, RuntimeWarning)]


def test_one_channel_without_numbers_leaves_the_others(tmp_path: Path) -> None:
    voice = tone(300.0, rate_hz=16_000)
    path = write_video(
        tmp_path / "a.mkv", GREY, sound=np.stack([np.full_like(voice, np.nan), voice]), sound_codec="pcm_f32le"
    )
    np.testing.assert_allclose(read_audio(path) / 32768, voice / 2, atol=2 / 32768)
