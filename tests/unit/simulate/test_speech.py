"""The built-in voice: what is measured in the sound is what the cues say."""

from __future__ import annotations

import numpy as np
import pytest

from crnet.data.simulate.cues import CUE, middle_values
from crnet.data.simulate.speech import HOP_S, speak, syllables_spoken
from crnet.schema import SAMPLE_RATE_HZ

TEXT = "I enjoy going out with my friends because we laughed all night at the party."


def voice(duration_s: float = 4.0, pitch_hz: float = 120.0, **changed: float) -> np.ndarray:
    cues = {**middle_values(), "voice_steadiness": 1.0, **changed}
    return speak(TEXT, duration_s, cues, pitch_hz, 1.0, np.random.default_rng(3)).audio


def measured_pitch_hz(audio: np.ndarray) -> np.ndarray:
    """Pitch of the voiced 60 ms pieces by their autocorrelation."""
    size = round(0.06 * SAMPLE_RATE_HZ)
    pieces = audio[: len(audio) // size * size].astype(float).reshape(-1, size)
    pieces = pieces[pieces.std(1) > 0.5 * pieces.std()]
    shortest, longest = SAMPLE_RATE_HZ // 400, SAMPLE_RATE_HZ // 60
    found = []
    for piece in pieces:
        correlation = np.correlate(piece, piece, "full")[size - 1 :] / np.arange(size, 0, -1)
        lag = shortest + int(correlation[shortest:longest].argmax())
        if correlation[lag] > 0.5 * correlation[0]:
            found.append(SAMPLE_RATE_HZ / lag)
    return np.array(found)


@pytest.mark.parametrize("loudness_db", [-36.0, -26.0, -16.0])
def test_loudness_while_speaking_is_what_was_asked_for(loudness_db: float) -> None:
    sound = voice(loudness=loudness_db) / 32767.0
    speaking = np.abs(sound) > 0.05 * np.abs(sound).max()
    assert 10 * np.log10(np.mean(sound[speaking] ** 2)) == pytest.approx(loudness_db, abs=1.0)
    assert np.abs(sound).max() < 1.0


def test_pitch_follows_its_level() -> None:
    low, high = (np.median(measured_pitch_hz(voice(pitch_level=level, pitch_variation=0.2))) for level in (-4.0, 5.0))
    assert low == pytest.approx(120 * 2 ** (-4 / 12), rel=0.04)
    assert high == pytest.approx(120 * 2 ** (5 / 12), rel=0.04)


def test_pitch_varies_as_asked() -> None:
    def spread(width: float) -> float:  # of the middle half: the meter is wrong by octaves now and then
        semitones = 12 * np.log2(measured_pitch_hz(voice(8.0, pitch_variation=width)) / 120)
        return float(np.subtract(*np.percentile(semitones, [75, 25])))

    flat, lively = spread(0.2), spread(3.0)
    assert flat < 0.6
    assert lively > 1.5


def test_pauses_take_their_share() -> None:
    few, many = (np.mean(_levels(voice(8.0, pause_share=share)) < 0.02) for share in (0.04, 0.42))
    assert few < 0.12
    assert many == pytest.approx(0.42, abs=0.12)


def _levels(audio: np.ndarray) -> np.ndarray:
    size = round(0.02 * SAMPLE_RATE_HZ)
    levels = audio[: len(audio) // size * size].astype(float).reshape(-1, size).std(1)
    return levels / np.percentile(levels, 98)


def test_softness_darkens_the_voice() -> None:
    def brightness(soft: float) -> float:
        power = np.abs(np.fft.rfft(voice(voice_softness=soft).astype(float))) ** 2
        hz = np.fft.rfftfreq(4 * SAMPLE_RATE_HZ, 1 / SAMPLE_RATE_HZ)
        return float(power[(hz > 1000) & (hz < 3000)].sum() / power[hz < 1000].sum())

    assert brightness(1.0) < 0.5 * brightness(0.0)


def test_syllables_spoken_by_hand() -> None:
    assert syllables_spoken(10.0, {"pause_share": 0.25, "speaking_rate": 4.0}) == 30
    assert syllables_spoken(0.1, {"pause_share": 0.4, "speaking_rate": 2.0}) == 1


@pytest.mark.parametrize("text", ["", "?!", "x", "naïve 日本", "a"])
def test_any_transcript_gives_a_track_of_the_asked_length(text: str) -> None:
    speech = speak(text, 0.5, middle_values(), 200.0, 0.85, np.random.default_rng(0))
    assert speech.audio.dtype == np.int16
    assert len(speech.audio) == 8000
    assert len(speech.envelope) >= 0.5 / HOP_S
    assert 0.0 <= speech.envelope.min() <= speech.envelope.max() <= 1.0


def test_the_same_state_gives_the_same_sound() -> None:
    np.testing.assert_array_equal(voice(), voice())


def test_loudness_table_leaves_room_below_full_scale() -> None:
    assert CUE["loudness"].high <= -12.0
