"""Word times, word effects, and the effect of each moment of the sound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crnet.bundle.bundle import Bundle
from crnet.data.dataset import collate
from crnet.data.manifest import read_manifest
from crnet.data.store import as_clip_source, read_clip
from crnet.data.transforms import read_sample
from crnet.explain.sound import BIN_S, attribute_sound
from crnet.explain.words import MOST_OCCLUSIONS, align, occlude, voiced_parts
from crnet.fusion.fusion import Fusion, system_scores
from crnet.predict import Predictor
from crnet.text.subtitles import Cue
from crnet.types import SAMPLE_RATE_HZ, TARGETS, Batch


def tones(*parts: tuple[float, float], length_s: float = 4.0) -> np.ndarray:
    """Silence with a tone in each part."""
    time_s = np.arange(round(length_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    on = np.any([(start <= time_s) & (time_s < end) for start, end in parts], axis=0) if parts else 0 * time_s
    return (9000 * np.sin(2 * np.pi * 200 * time_s) * on).astype(np.int16)


def test_loud_parts_are_voiced() -> None:
    assert voiced_parts(tones((1.0, 2.0), (3.0, 3.5))) == [pytest.approx((1.0, 2.0)), pytest.approx((3.0, 3.5))]
    assert voiced_parts(tones()) == []
    assert voiced_parts(np.zeros(0, np.int16)) == []


def test_words_share_the_voiced_time_by_their_length() -> None:
    words = align("abc abc abcdefg", (), tones((1.0, 2.0), (3.0, 4.0)), 4.0)
    spans = [(word.text, round(word.start_s, 6), round(word.end_s, 6), word.timed) for word in words]
    # 4 + 4 + 8 letters and spaces over two voiced seconds.
    assert spans == [("abc", 1.0, 1.5, False), ("abc", 1.5, 2.0, False), ("abcdefg", 3.0, 4.0, False)]


def test_without_a_voice_words_share_the_whole_clip_and_subtitles_place_them() -> None:
    assert [w.end_s for w in align("ab cd", (), tones(), 4.0)] == [2.0, 4.0]
    words = align("ignored", (Cue(1, 2, "one two"), Cue(5, 5.5, "three")), tones(), 9.0)
    assert [(w.text, w.start_s, w.end_s, w.timed) for w in words] == [
        ("one", 1, 1.5, True),
        ("two", 1.5, 2, True),
        ("three", 5, 5.5, True),
    ]
    assert align("", (), tones((0, 1)), 4.0) == ()


@settings(deadline=None)
@given(st.lists(st.text("abcdef", min_size=1, max_size=9), max_size=40), st.lists(st.integers(0, 199), max_size=8))
def test_words_stay_in_order_and_inside_the_clip(words: list[str], starts: list[int]) -> None:
    parts = [(start / 50, start / 50 + 0.1) for start in starts]
    aligned = align(" ".join(words), (), tones(*parts), 4.0)
    assert [word.text for word in aligned] == words
    times = [time_s for word in aligned for time_s in (word.start_s, word.end_s)]
    assert times == pytest.approx(sorted(times))
    assert not times or (times[0] >= 0 and times[-1] <= 4.0 + 1e-6)


@pytest.fixture(scope="module")
def clip_batch(store: Path, predictor: Predictor) -> Batch:
    clip = read_clip(store / read_manifest(store).rows("test")[0].file)
    return collate(
        [read_sample(as_clip_source(clip), predictor.bundle.config.transforms, None, tuple(predictor.bundle.networks))]
    )


@pytest.fixture(scope="module")
def held_out_predictor(bundle: Bundle) -> Predictor:
    """A predictor whose fused score is a weighted sum of the streams' scores."""
    config = replace(bundle.config.fusion, fit_on="held-out")
    features = {
        stream: np.random.default_rng(0).normal(size=(5, *mean.shape)) for stream, mean in bundle.fusion.mean.items()
    }
    return Predictor(replace(bundle, fusion=Fusion.fit(config, features, np.full((5, 6), 0.5))))


@pytest.mark.parametrize("system", ["predictor", "held_out_predictor"])
def test_leaving_a_word_out_is_predicting_without_it(
    system: str, clip_batch: Batch, request: pytest.FixtureRequest
) -> None:
    predictor = request.getfixturevalue(system)
    text = "we are so happy about it"
    words = align(text, (), tones((0, 1)), 1.0)
    whole = Batch(
        clip_batch.clip_ids,
        clip_batch.scene,
        clip_batch.face,
        clip_batch.audio,
        torch.from_numpy(predictor.encoder.encode([text])),
    )
    features, scores = predictor.features(whole)
    effects = occlude(predictor, whole, features, scores, words)
    assert [effect.text for effect in effects] == text.split()
    without = Batch(
        whole.clip_ids,
        whole.scene,
        whole.face,
        whole.audio,
        torch.from_numpy(predictor.encoder.encode(["we are so about it"])),
    )
    expected = predictor.predict_batch(whole)[0][0] - predictor.predict_batch(without)[0][0]
    assert list(effects[3].effect.values()) == pytest.approx(expected.tolist(), abs=1e-6)
    assert tuple(effects[3].effect) == TARGETS
    assert any(value != 0 for value in effects[3].effect.values())
    assert system_scores(predictor.bundle.fusion, features, scores)[0].shape == (1, 6)


def test_many_words_are_left_out_a_few_at_a_time(predictor: Predictor, clip_batch: Batch) -> None:
    words = align(" ".join(f"w{i}" for i in range(150)), (), tones((0, 1)), 1.0)
    features, scores = predictor.features(clip_batch)
    effects = occlude(predictor, clip_batch, features, scores, words)
    assert len(effects) == 50 <= MOST_OCCLUSIONS
    assert " ".join(effect.text for effect in effects) == " ".join(word.text for word in words)


def test_a_system_without_text_input_has_no_word_effects(
    make_system: Callable[..., Predictor], clip_batch: Batch
) -> None:
    audio_only = make_system(audio_text="audio")
    features, scores = audio_only.features(clip_batch)
    assert occlude(audio_only, clip_batch, features, scores, align("some words", (), tones(), 1.0)) == ()


@pytest.mark.parametrize("steps", [64])
def test_the_bins_of_the_sound_add_up_to_its_effect(predictor: Predictor, clip_batch: Batch, steps: int) -> None:
    net = predictor.bundle.networks["audio-text"]
    attribution = attribute_sound(net, clip_batch, SAMPLE_RATE_HZ, steps)
    assert attribution.bins.shape == (6, round(1 / BIN_S))
    silent = Batch(clip_batch.clip_ids, audio=torch.zeros_like(clip_batch.audio), text=clip_batch.text)
    with torch.no_grad():
        expected = net(clip_batch).scores[0] - net(silent).scores[0]
    assert attribution.total == pytest.approx(expected.numpy(), abs=1e-5)
    assert attribution.gap < 0.15 * np.abs(attribution.total).max()
    coarse = attribute_sound(net, clip_batch, SAMPLE_RATE_HZ, 1)
    assert attribution.gap < coarse.gap or coarse.gap < 1e-3


def test_integrated_gradients_agree_with_captum(predictor: Predictor, clip_batch: Batch) -> None:
    from captum.attr import IntegratedGradients

    net, steps = predictor.bundle.networks["audio-text"], 4
    attribution = IntegratedGradients(
        lambda audio: net(Batch(("",) * len(audio), audio=audio, text=clip_batch.text.expand(len(audio), -1))).scores
    )
    samples = [
        attribution.attribute(clip_batch.audio, target=i, n_steps=steps, method="riemann_middle")[0].detach().numpy()
        for i in range(6)
    ]
    expected = np.stack(samples).reshape(6, -1, round(BIN_S * SAMPLE_RATE_HZ)).sum(axis=2)
    sound = attribute_sound(net, clip_batch, SAMPLE_RATE_HZ, steps)
    np.testing.assert_allclose(sound.bins, expected, atol=1e-3 * np.abs(expected).max())


def test_silence_has_no_effect(predictor: Predictor, clip_batch: Batch) -> None:
    heard = clip_batch.audio.clone()
    heard[:, SAMPLE_RATE_HZ // 2 :] = 0
    attribution = attribute_sound(
        predictor.bundle.networks["audio-text"], Batch(("a",), audio=heard, text=clip_batch.text), SAMPLE_RATE_HZ, 2
    )
    assert np.abs(attribution.bins[:, :5]).max() > 0
    assert np.abs(attribution.bins[:, 5:]).max() == 0


def test_very_long_transcripts_are_encoded_in_few_parts(
    predictor: Predictor, clip_batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crnet.explain.words.MOST_CHARACTERS", 15_000)
    words = align(" ".join(["w" * 9] * 100), (), tones((0, 1)), 1.0)  # 999 characters, encoded 15 times instead of 50
    features, scores = predictor.features(clip_batch)
    assert len(occlude(predictor, clip_batch, features, scores, words)) == 15
    cues = tuple(Cue(i, i + 1, "a " * 30) for i in range(2_000))
    assert len(align("", cues, tones(), 4.0)) == 50_000
