"""Sound of many channels, of odd layouts, and with samples that are no numbers."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from video_maker import write_video

from crnet.media.audio import read_audio, read_sound
from crnet.media.samples import channels_to_mix
from crnet.media.video import probe

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


# Layout tags of Core Audio. The order of the channels is not that of FFmpeg's own layouts, which ended the process.
@pytest.mark.parametrize(
    ("layout", "channels", "tag"), [("3.0", 3, 114), ("5.1", 6, 122), ("5.1", 6, 124), ("7.1", 8, 127)]
)
def test_channels_in_an_order_of_their_own_can_be_read(tmp_path: Path, layout: str, channels: int, tag: int) -> None:
    sound = np.tile(tone(), (channels, 1))
    path = write_video(tmp_path / "a.mov", GREY, sound=sound, sound_hz=48_000, sound_codec="pcm_s16le", layout=layout)
    content = bytearray(path.read_bytes())
    struct.pack_into(">I", content, content.index(b"chan") + 8, tag << 16 | channels)
    path.write_bytes(content)
    other = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, timeout=120)
    assert (other.returncode, other.stdout) == (0, "16000\n"), other.stderr
    assert rms(read_audio(path)[2000:14_000]) == pytest.approx(0.3 / 2**0.5, rel=0.02)


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


def test_stereo_in_opposite_phase_is_heard(tmp_path: Path) -> None:
    voice = tone(300.0, rate_hz=16_000)
    sound = read_sound(write_video(tmp_path / "a.mkv", GREY, sound=np.stack([voice, -voice])), None)
    np.testing.assert_allclose(sound.samples / 32768, voice, atol=2 / 32768)
    assert sound.warnings == ("the mean of the 2 channels of the sound loses most of it; channel 1 was read instead",)


@pytest.mark.parametrize("speech", [0, 2, 5])
def test_speech_in_one_channel_of_six_is_heard(tmp_path: Path, speech: int) -> None:
    channels = np.zeros((6, 16_000), np.float32)
    channels[speech] = tone(300.0, rate_hz=16_000)
    sound = read_sound(write_video(tmp_path / "a.mkv", GREY, sound=channels, layout="5.1"), None)
    np.testing.assert_allclose(sound.samples / 32768, channels[speech], atol=2 / 32768)
    assert sound.warnings == (
        f"the mean of the 6 channels of the sound loses most of it; channel {speech + 1} was read instead",
    )


@pytest.mark.parametrize("voice_level", [0.3, 0.03])
def test_bass_does_not_hide_speech_in_another_channel(tmp_path: Path, voice_level: float) -> None:
    voice, rumble = tone(300.0, rate_hz=16_000, level=voice_level), tone(50.0, rate_hz=16_000, level=0.5)
    channels = np.stack([0 * voice, 0 * voice, voice, rumble, 0 * voice, 0 * voice])
    sound = read_sound(write_video(tmp_path / "a.mov", GREY, sound=channels, layout="5.1"), None)
    np.testing.assert_allclose(sound.samples / 32768, voice, atol=2 / 32768)


def test_bass_alone_is_heard(tmp_path: Path) -> None:
    rumble = tone(50.0, rate_hz=16_000)
    channels = np.stack([*[0 * rumble] * 3, rumble, *[0 * rumble] * 2])
    sound = read_sound(write_video(tmp_path / "a.mov", GREY, sound=channels, layout="5.1"), None)
    np.testing.assert_allclose(sound.samples / 32768, rumble, atol=2 / 32768)


def test_usual_stereo_is_the_plain_mean(tmp_path: Path) -> None:
    left, right = (np.random.default_rng(i).integers(-9000, 9000, 16_000) for i in (0, 1))
    for other in (left, right, np.zeros_like(left)):
        both = np.stack([left, other]).astype(np.float32) / 32768
        sound = read_sound(write_video(tmp_path / "a.mkv", GREY, sound=both), None)
        assert np.array_equal(sound.samples, np.rint(both.mean(axis=0) * 32768).astype(np.int16))
        assert not sound.warnings


def test_a_constant_does_not_decide_which_channel_is_read(tmp_path: Path) -> None:
    voice = tone(300.0, rate_hz=16_000)
    channels = np.stack([np.full_like(voice, 0.9), voice, -voice, 0 * voice])
    sound = read_sound(write_video(tmp_path / "a.mkv", GREY, sound=channels, layout="4.0"), None)
    np.testing.assert_allclose(sound.samples / 32768, voice, atol=2 / 32768)


def test_channels_with_a_signal_are_mixed_before_the_loudest_is_chosen() -> None:
    # Energies by hand. Two equal, independent ones of six: the mean of all keeps 2/36, that of the two 2/4.
    assert channels_to_mix(np.diag([0.0, 4, 0, 4, 0, 0])[None]).tolist() == [1, 3]
    assert channels_to_mix(np.diag([4.0, 0])[None]).tolist() == [0, 1]  # 4/4 of 4 is above 1/8
    assert channels_to_mix(np.array([[[4.0, -4], [-4, 5]]])).tolist() == [1]  # 1/4 of 5 is below 1/8
    assert channels_to_mix(np.zeros((1, 3, 3))).tolist() == [0, 1, 2]


def test_bass_in_digitally_silent_pauses_does_not_hide_speech(tmp_path: Path) -> None:
    voice, rumble = tone(300.0, 2.0, 16_000, level=0.05), tone(50.0, 2.0, 16_000, level=0.8)
    channels = np.zeros((6, 64_000), np.float32)
    channels[3, :32_000], channels[2, 32_000:] = rumble, voice
    sound = read_sound(write_video(tmp_path / "a.mov", GREY, sound=channels, layout="5.1"), None)
    np.testing.assert_allclose(sound.samples / 32768, channels[2], atol=2 / 32768)


@pytest.mark.parametrize("opposite_s", [0, 1, 3])
def test_a_stretch_in_opposite_phase_is_heard(tmp_path: Path, opposite_s: int) -> None:
    voice = tone(300.0, 4.0, 16_000)
    right = 0.9 * voice  # quieter, so that channel 1 is the loudest
    right[opposite_s * 16_000 : (opposite_s + 1) * 16_000] *= -1
    sound = read_sound(write_video(tmp_path / "a.mkv", GREY, sound=np.stack([voice, right])), None)
    np.testing.assert_allclose(sound.samples / 32768, voice, atol=2 / 32768)
    assert sound.warnings == (
        "the mean of the 2 channels of the sound loses most of a part of it; channel 1 was read instead",
    )


def test_a_nearly_silent_stretch_in_opposite_phase_does_not_decide(tmp_path: Path) -> None:
    left, right = tone(300.0, 4.0, 16_000), tone(300.0, 4.0, 16_000)
    left[16_000:32_000] *= 0.01  # 0.003 / sqrt(2) of full scale is -53 dB
    right[16_000:32_000] *= -0.01
    both = np.stack([left, right])
    sound = read_sound(write_video(tmp_path / "a.mkv", GREY, sound=both), None)
    np.testing.assert_allclose(sound.samples / 32768, both.mean(axis=0), atol=2 / 32768)
    assert not sound.warnings


def test_opposite_phase_before_the_first_picture_does_not_decide(tmp_path: Path) -> None:
    voice = tone(300.0, 4.0, 16_000)
    right = 0.5 * voice
    right[:32_000] = -voice[:32_000]
    times_ms = [2000 + 40 * i for i in range(len(GREY))]
    path = write_video(tmp_path / "a.mkv", GREY, times_ms=times_ms, sound=np.stack([voice, right]))
    sound = read_sound(path, probe(path).timeline)
    assert sound.before_s == pytest.approx(2.0, abs=0.002) and not sound.warnings
    assert rms(sound.samples) == pytest.approx(0.75 * 0.3 / 2**0.5, rel=0.001)


def test_quiet_stereo_in_opposite_phase_throughout_is_heard(tmp_path: Path) -> None:
    voice = tone(300.0, 2.0, 16_000, level=0.003)
    sound = read_sound(write_video(tmp_path / "a.mkv", GREY, sound=np.stack([voice, -voice])), None)
    np.testing.assert_allclose(sound.samples / 32768, voice, atol=2 / 32768)


def test_quiet_speech_between_loud_music_is_heard(tmp_path: Path) -> None:
    channels = np.zeros((6, 64_000), np.float32)
    channels[0, :32_000] = channels[1, :32_000] = tone(200.0, 2.0, 16_000, level=0.5)
    channels[2, 32_000:] = tone(300.0, 2.0, 16_000, level=0.03)
    sound = read_sound(write_video(tmp_path / "a.mov", GREY, sound=channels, layout="5.1"), None)
    np.testing.assert_allclose(sound.samples / 32768, channels[:3].mean(axis=0), atol=2 / 32768)
    # Of six, the mean keeps 1/36 of the speech; of three, 1/9: more, but less than 1/8.
    assert sound.warnings == (
        "the mean of the 6 channels of the sound loses most of it; "
        "the mean of channels 1, 2, 3 was read instead, which still loses most of a part",
    )


def test_two_people_in_a_channel_each_are_both_heard_despite_a_jingle_in_opposite_phase(tmp_path: Path) -> None:
    first, second, jingle = (tone(hz, 2.0, 16_000) for hz in (200.0, 300.0, 400.0))
    left = np.concatenate([first, 0 * second, jingle[:16_000]])
    right = np.concatenate([0 * first, second, -jingle[:16_000]])
    both = np.stack([left, right])
    sound = read_sound(write_video(tmp_path / "a.mkv", GREY, sound=both), None)
    np.testing.assert_allclose(sound.samples / 32768, both.mean(axis=0), atol=2 / 32768)
    assert sound.warnings == (
        "the mean of the 2 channels of the sound loses most of a part of it, "
        "and no other choice of channels keeps more",
    )
