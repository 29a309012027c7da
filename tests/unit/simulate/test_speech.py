"""Both voices: measurements of the sound match the cues."""

from __future__ import annotations

import logging
import subprocess
import sys

import numpy as np
import pytest

from crnet.errors import MissingDependencyError
from crnet.simulate import espeak, speech
from crnet.simulate.cues import CUE_BY_NAME, middle_values
from crnet.simulate.espeak_voice import MEN, WOMEN, WPM_PER_SYLLABLE_RATE
from crnet.simulate.speech import VOICES, Voice, best_voice, speak, spoken_syllable_count
from crnet.simulate.voice_track import HOP_S
from crnet.simulate.words import count_syllables
from crnet.types import SAMPLE_RATE_HZ

TEXT = (
    "I enjoy going out with my friends because we laughed all night at the party. "
    "I finished my report before the deadline and thank you so much for listening. "
)
MAN_HZ, WOMAN_HZ = 112.0, 200.0
needs_espeak = pytest.mark.skipif(
    not espeak.is_installed(), reason="the speech synthesiser is not installed: pip install espeakng-loader"
)


@pytest.fixture(params=["built-in", pytest.param("espeak", marks=needs_espeak)])
def kind(request: pytest.FixtureRequest) -> Voice:
    return request.param


def voice(kind: Voice, duration_s: float = 3.0, pitch_hz: float = MAN_HZ, variant: int = 0, **changed: float):
    cues = {**middle_values(), "voice_steadiness": 1.0, **changed}
    tract = 1.0 if pitch_hz < 150 else 0.865
    rng = np.random.default_rng(3)
    return speak(TEXT, duration_s, cues, pitch_hz, tract, rng, voice=kind, variant=variant).audio


def measured_pitch_hz(audio: np.ndarray) -> np.ndarray:
    """Return the pitch of the voiced 60 ms pieces, from their autocorrelation."""
    size = round(0.06 * SAMPLE_RATE_HZ)
    pieces = audio[: len(audio) // size * size].astype(float).reshape(-1, size)
    pieces = pieces[pieces.std(1) > 0.5 * pieces.std()]
    shortest, longest = SAMPLE_RATE_HZ // 400, SAMPLE_RATE_HZ // 60
    pitches_hz = []
    for piece in pieces:
        correlation = np.correlate(piece, piece, "full")[size - 1 :] / np.arange(size, 0, -1)
        lag = shortest + int(correlation[shortest:longest].argmax())
        # Multiples of the period correlate as well; the first lag that correlates nearly as well is the period.
        for part in (4, 3, 2):
            near = correlation[max(shortest, lag // part - 2) : lag // part + 3]
            if lag // part > shortest and near.max() > 0.9 * correlation[lag]:
                lag = max(shortest, lag // part - 2) + int(near.argmax())
                break
        if correlation[lag] > 0.5 * correlation[0]:
            pitches_hz.append(SAMPLE_RATE_HZ / lag)
    return np.array(pitches_hz)


def semitones(audio: np.ndarray, rest_hz: float) -> np.ndarray:
    return 12 * np.log2(measured_pitch_hz(audio) / rest_hz)


def levels(audio: np.ndarray) -> np.ndarray:
    size = round(0.02 * SAMPLE_RATE_HZ)
    levels = audio[: len(audio) // size * size].astype(float).reshape(-1, size).std(1)
    return levels / np.percentile(levels, 98)


@pytest.mark.parametrize("loudness_db", [-36.0, -26.0, -16.0])
def test_loudness_of_speech_matches_the_cue(kind: Voice, loudness_db: float) -> None:
    sound = voice(kind, loudness=loudness_db) / 32767.0
    speaking = np.abs(sound) > 0.05 * np.abs(sound).max()
    assert 10 * np.log10(np.mean(sound[speaking] ** 2)) == pytest.approx(loudness_db, abs=1.0)
    assert np.abs(sound).max() < 1.0


@pytest.mark.parametrize("variant", range(4))
@pytest.mark.parametrize("rest_hz", [MAN_HZ, WOMAN_HZ])
@pytest.mark.parametrize("level", [-4.0, 0.5, 5.0])
def test_pitch_matches_the_cue(kind: Voice, rest_hz: float, variant: int, level: float) -> None:
    sound = voice(kind, pitch_hz=rest_hz, variant=variant, pitch_level=level, pitch_variation=0.2)
    assert np.median(semitones(sound, rest_hz)) == pytest.approx(level, abs=0.9)


def test_pitch_variation_follows_the_cue(kind: Voice) -> None:
    def spread(width: float) -> float:  # interquartile range, because the measurement is sometimes wrong by an octave
        return float(np.subtract(*np.percentile(semitones(voice(kind, 8.0, pitch_variation=width), 112), [75, 25])))

    flat, lively = spread(0.2), spread(2.4)
    assert flat < 0.8
    assert lively > 1.5


def test_share_of_pauses_matches_the_cue(kind: Voice) -> None:
    few, many = (np.mean(levels(voice(kind, 8.0, pause_share=share)) < 0.02) for share in (0.04, 0.42))
    assert few < 0.14
    assert many == pytest.approx(0.42, abs=0.12)


def test_loudness_fluctuates_faster_in_faster_speech(kind: Voice) -> None:
    def fluctuation_hz(syllables_per_s: float) -> float:  # spectral centroid of the loudness below 12 Hz
        loud = levels(voice(kind, 12.0, speaking_rate=syllables_per_s, pause_share=0.04))
        power = np.abs(np.fft.rfft(loud - loud.mean())) ** 2
        hz = np.fft.rfftfreq(len(loud), 0.02)
        return float((power * hz)[hz < 12].sum() / power[hz < 12].sum())

    assert fluctuation_hz(6.4) > 1.25 * fluctuation_hz(2.6)


@needs_espeak
def test_real_speech_has_the_requested_rate() -> None:
    timbre = MEN[0]
    for rate in (2.6, 4.5, 6.4):
        with espeak.open_synthesiser(timbre.name, 1) as speaker:
            sentence = TEXT.replace(". ", " and ")
            utterance = speaker.synthesise(sentence, WPM_PER_SYLLABLE_RATE * rate, 50, 50)
        loud = np.flatnonzero(np.abs(utterance.wave) > 0.01)
        spoken_s = (loud[-1] - loud[0]) / espeak.RATE_HZ
        assert sum(map(count_syllables, sentence.split())) / spoken_s == pytest.approx(rate, rel=0.12)


def test_softness_reduces_high_frequencies(kind: Voice) -> None:
    def brightness(soft: float) -> float:
        power = np.abs(np.fft.rfft(voice(kind, voice_softness=soft).astype(float))) ** 2
        hz = np.fft.rfftfreq(3 * SAMPLE_RATE_HZ, 1 / SAMPLE_RATE_HZ)
        return float(power[(hz > 1000) & (hz < 3000)].sum() / power[hz < 1000].sum())

    assert brightness(1.0) < 0.5 * brightness(0.0)


def test_an_unsteady_voice_trembles(kind: Voice) -> None:
    def restlessness(steady: float) -> float:
        sound = voice(kind, 8.0, voice_steadiness=steady, pitch_variation=0.2)
        return float(np.subtract(*np.percentile(semitones(sound, MAN_HZ), [75, 25])))

    assert restlessness(0.0) > restlessness(1.0) + 0.5


def test_spoken_syllable_count_equals_hand_calculation() -> None:
    assert spoken_syllable_count(10.0, {"pause_share": 0.25, "speaking_rate": 4.0}) == 30
    assert spoken_syllable_count(0.1, {"pause_share": 0.4, "speaking_rate": 2.0}) == 1


@pytest.mark.parametrize("text", ["", "?!", "x", "naïve 日本", "日本", "a", "a\0b <speak> [[h@l]]", "9" * 500])
def test_any_transcript_gives_a_track_of_the_requested_length(kind: Voice, text: str) -> None:
    speech_track = speak(text, 0.5, middle_values(), 200.0, 0.85, np.random.default_rng(0), voice=kind)
    assert speech_track.audio.dtype == np.int16
    assert len(speech_track.audio) == 8000
    assert len(speech_track.envelope) >= 0.5 / HOP_S
    assert 0.0 <= speech_track.envelope.min() <= speech_track.envelope.max() <= 1.0


def test_sound_does_not_depend_on_earlier_speech(kind: Voice) -> None:
    first = voice(kind)
    voice(kind, pitch_hz=WOMAN_HZ, variant=2, pitch_level=-2.0)
    np.testing.assert_array_equal(voice(kind), first)


@needs_espeak
def test_another_process_gives_the_same_sound() -> None:
    program = (
        "import zlib; from crnet.simulate.espeak import open_synthesiser\n"
        "with open_synthesiser('en-us+f3', 5) as speaker:\n"
        "    print(zlib.crc32(speaker.synthesise('I met so many fun people', 160, 50, 50).wave.tobytes()))"
    )
    outputs = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout for _ in range(2)
    ]
    assert outputs[0] == outputs[1] != b""


@needs_espeak
@pytest.mark.parametrize("timbre", [*MEN, *WOMEN], ids=lambda timbre: timbre.name)
def test_every_timbre_speaks_and_marks_words(timbre) -> None:
    with espeak.open_synthesiser(timbre.name, 1) as speaker:
        utterance = speaker.synthesise("we laughed all night", 160, 50, 50)
    assert len(utterance.word_starts) == 4
    assert 0 == utterance.word_starts[0] < utterance.word_starts[-1] < len(utterance.wave)
    assert 0.05 < np.abs(utterance.wave).max() < 0.999  # neither silent nor clipped


@needs_espeak
def test_an_unknown_timbre_is_refused() -> None:
    with pytest.raises(MissingDependencyError, match="no voice"), espeak.open_synthesiser("martian", 0):
        pass


@needs_espeak
def test_a_long_data_path_is_replaced_by_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espeak, "MAX_DATA_PATH", 3)
    with espeak.open_synthesiser("en-us", 1) as speaker:
        assert len(speaker.synthesise("hello", 160, 50, 50).wave) > 1000


def test_the_built_in_voice_replaces_a_missing_synthesiser_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(espeak, "PACKAGE", "no_such_package")
    with caplog.at_level(logging.WARNING):
        assert best_voice() == "built-in"
    assert "pip install no-such-package" in caplog.text
    assert set(VOICES) == {"espeak", "built-in"}
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(MissingDependencyError, match="pip install"):
        speak("Hello", 0.5, middle_values(), 112.0, 1.0, np.random.default_rng(0), voice="espeak")
    assert speech.best_voice() == "built-in"


def test_loudness_range_stays_below_full_scale() -> None:
    assert CUE_BY_NAME["loudness"].high <= -12.0
