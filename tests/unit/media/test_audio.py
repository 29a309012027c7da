"""Sound compared with librosa, and files without sound."""

from __future__ import annotations

import wave
from pathlib import Path

import av
import librosa
import numpy as np
import pytest
from video_maker import write_video

from crnet.errors import MediaError
from crnet.media.audio import read_audio, read_sound
from crnet.media.video import probe

GREY = [np.full((16, 16, 3), 128, np.uint8)] * 5


def sine(hz: float, seconds: float, rate_hz: int, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def write_wav(path: Path, sound: np.ndarray, rate_hz: int) -> Path:
    """Write sound int16 [channels, n] as a plain WAV file, without FFmpeg."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(sound))
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(sound.T.astype("<i2").tobytes())
    return path


def decode_track(path: Path) -> tuple[np.ndarray, int]:
    """Return the audio track of a clip at its own rate, int16 [channels, n]."""
    with av.open(str(path)) as container:
        rate_hz = container.streams.audio[0].rate
        pieces = [frame.to_ndarray() for frame in container.decode(audio=0)]
        planar = container.streams.audio[0].format.is_planar
    sound = np.concatenate(pieces, axis=1)
    assert planar
    if sound.dtype == np.float32:
        sound = np.clip(np.rint(sound * 32768), -32768, 32767)
    return sound, rate_hz


def assert_agrees_with_librosa(reference: Path, path: Path) -> None:
    expected = np.clip(librosa.load(reference, sr=16_000, mono=True)[0], -1, 1)  # resampling may overshoot
    sound = read_audio(path)
    assert sound.dtype == np.int16 and len(sound) == len(expected) > 16_000
    assert float(np.abs(sound / 32768 - expected).max()) < 1e-3
    assert float(np.abs(expected).max()) > 0.05


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_noise_agrees_with_librosa(tmp_path: Path, rate_hz: int, channels: int) -> None:
    sound = np.random.default_rng(0).integers(-9000, 9000, (channels, 2 * rate_hz + 37))
    path = write_wav(tmp_path / "a.wav", sound, rate_hz)
    assert_agrees_with_librosa(path, path)


@pytest.mark.parametrize("name", ["speech_lj.wav", "speech_quilter.wav"])
def test_speech_agrees_with_librosa(media_dir: Path, name: str) -> None:
    assert_agrees_with_librosa(media_dir / name, media_dir / name)


@pytest.mark.parametrize("name", ["address_2.mp4", "speaker_a.mpg", "edge_several_people.mp4"])
def test_the_track_of_a_clip_agrees_with_librosa(media_dir: Path, tmp_path: Path, name: str) -> None:
    sound, rate_hz = decode_track(media_dir / name)
    before = round(read_sound(media_dir / name, probe(media_dir / name).timeline).before_s * rate_hz)
    sound = sound[:, before:]  # the clip begins with its first picture
    assert_agrees_with_librosa(write_wav(tmp_path / "a.wav", sound, rate_hz), media_dir / name)


def test_channels_are_averaged(tmp_path: Path) -> None:
    tone = sine(440, 1, 16_000)
    path = write_video(tmp_path / "a.mkv", GREY, sound=np.stack([tone, np.zeros_like(tone)]))
    np.testing.assert_allclose(read_audio(path) / 32768, tone / 2, atol=1e-3)


def test_the_length_is_bounded(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", GREY, sound=sine(440, 3, 44_100)[None], sound_hz=44_100)
    assert len(read_audio(path, max_s=1.5)) == 24_000
    assert len(read_audio(path)) == 48_000


def test_a_file_without_audio_track_gives_no_sound(tmp_path: Path) -> None:
    sound = read_audio(write_video(tmp_path / "a.mp4", GREY))
    assert sound.dtype == np.int16 and len(sound) == 0


def test_a_track_that_cannot_be_decoded_gives_no_sound(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_video(tmp_path / "a.mp4", GREY, sound=sine(440, 1, 16_000)[None])
    content = bytearray(path.read_bytes())
    at = content.index(b"mp4a", content.index(b"stsd"))
    content[at : at + 4] = b"zzzz"  # an unknown codec
    at = content.index(b"esds", at)
    content[at : at + 4] = b"free"
    path.write_bytes(content)
    assert len(read_audio(path)) == 0
    assert capfd.readouterr() == ("", "")


def test_loud_sound_is_clipped_not_wrapped(tmp_path: Path) -> None:
    square = np.where(np.arange(32_000) % 200 < 100, 32_767, -32_768)[None]
    sound = read_audio(write_wav(tmp_path / "a.wav", square, 32_000)).astype(float)
    middle = sound[25:15_900:50]  # halfway through each half wave
    assert np.abs(middle).min() > 20_000
    assert (np.sign(middle) == np.tile([1, -1], len(middle))[: len(middle)]).all()


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no such file"):
        read_audio(tmp_path / "a.wav")
