"""Ridge regression of the text: against scikit-learn, against fits that leave a group out, and by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from crnet.errors import FormatError, LabelError
from crnet.models.config import ModelConfig
from crnet.models.crnet import StreamNet
from crnet.models.text_regression import PENALTIES, RidgeFit, TextRegression, fit_ridge
from crnet.types import Batch

MODEL = ModelConfig(width=8, blocks=(1, 1, 1, 1), text_path="vector")
IDS = ("a.mp4", "b.mp4", "c.mp4")


def data(clips: int, width: int, seed: int = 0, signal: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    texts = rng.normal(size=(clips, width)) + 3
    scores = 0.5 + 0.05 * (signal * texts @ rng.normal(size=(width, 2)) / width**0.5 + rng.normal(size=(clips, 2)))
    return texts, scores


def sklearn_ridge(texts: np.ndarray, scores: np.ndarray, penalty: float, all_texts: np.ndarray) -> Ridge:
    scale = np.square(all_texts - all_texts.mean(0)).sum() / len(all_texts)
    return Ridge(alpha=penalty * scale).fit(texts, scores)


@pytest.mark.parametrize(("clips", "width"), [(40, 7), (12, 30)])
def test_the_fit_is_that_of_scikit_learn(clips: int, width: int) -> None:
    texts, scores = data(clips, width)
    fit = fit_ridge(texts, scores, range(clips))
    reference = sklearn_ridge(texts, scores, fit.penalty, texts)
    np.testing.assert_allclose(fit.weight, reference.coef_, atol=1e-10)
    new, _ = data(5, width, seed=1)
    np.testing.assert_allclose(scores.mean(0) + (new - fit.mean) @ fit.weight.T, reference.predict(new), atol=1e-10)


@given(seed=st.integers(0, 1000), clips=st.integers(4, 15), width=st.integers(1, 20), people=st.integers(2, 4))
@settings(max_examples=25, deadline=None)
def test_one_clip_groups_are_left_out_exactly(seed: int, clips: int, width: int, people: int) -> None:
    """The mean text stays that of all clips: with an unpenalised mean score, this changes no prediction."""
    texts, scores = data(clips, width, seed)
    groups = [index % people for index in range(clips)]
    fit = fit_ridge(texts, scores, groups)
    for group in range(people):
        inside = np.array(groups) == group
        left = sklearn_ridge(texts[~inside], scores[~inside], fit.penalty, texts)
        np.testing.assert_allclose(fit.held_out[inside] + scores.mean(0), left.predict(texts[inside]), atol=1e-9)


def test_the_penalty_is_large_for_noise_and_small_for_a_clear_text() -> None:
    noise = fit_ridge(*data(60, 40, signal=0.0), range(60))
    clear = fit_ridge(*data(60, 5, signal=20.0), range(60))
    assert noise.penalty > 10 and noise.r2 < 0.05
    assert clear.penalty == PENALTIES[0] and clear.r2 > 0.99


def test_a_group_that_shares_noise_does_not_make_noise_predictable() -> None:
    """Each person has a text and a score of their own, in four clips: other clips of a person must not predict it."""
    rng = np.random.default_rng(3)
    texts = np.repeat(rng.normal(size=(25, 60)), 4, axis=0) + 0.01 * rng.normal(size=(100, 60))
    scores = np.repeat(rng.uniform(0.2, 0.8, size=(25, 2)), 4, axis=0)
    people = np.repeat(np.arange(25), 4).tolist()
    assert fit_ridge(texts, scores, range(100)).r2 > 0.9
    assert fit_ridge(texts, scores, people).r2 < 0.1


def test_equal_texts_predict_the_mean_of_the_other_groups() -> None:
    fit = fit_ridge(np.ones((3, 4)), np.array([[0.2], [0.5], [0.8]]), [0, 1, 2])
    np.testing.assert_array_equal(fit.weight, np.zeros((1, 4)))
    np.testing.assert_allclose(fit.held_out[:, 0], [0.15, 0.0, -0.15], atol=1e-12)  # (.5 + .8) / 2 - .5 = .15


def test_one_clip_is_refused() -> None:
    with pytest.raises(LabelError, match="at least two training clips"):
        fit_ridge(np.ones((1, 4)), np.ones((1, 2)), [0])


def layer() -> TextRegression:
    """The first text number lowers the first score, the second is ignored."""
    regression = TextRegression(targets=2, dimensions=3)
    held_out = np.array([[0.1, -0.1], [0.3, 0.1], [-0.1, 0.0]])
    regression.load_fit(
        RidgeFit(
            np.array([[-0.5, 0.0, 0.0], [0.0, 0.0, 0.25]]),
            np.array([1.0, 2.0, 3.0]),
            np.array([0.4, 0.6]),
            held_out,
            1.0,
            0.1,
        ),
        IDS,
    )
    return regression


def test_a_layer_predicts_deviations_and_training_clips_pass_on_their_cross_validated_ones() -> None:
    regression, text = layer(), torch.tensor([[3.0, 9.0, 3.0], [1.0, 0.0, 7.0]])
    predicted = torch.tensor([[-1.0, 0.0], [0.0, 1.0]])
    torch.testing.assert_close(regression.eval()(text, ("b.mp4", "new.mp4")), predicted)
    expected = torch.tensor([[0.3, 0.1], [0.0, 1.0]])
    torch.testing.assert_close(regression.train()(text, ("b.mp4", "new.mp4")), expected)
    # The deviations .1 .3 -.1 have the standard deviation sqrt(.08 / 3).
    torch.testing.assert_close(regression.standardised(predicted)[0, 0].item(), -1 / (0.08 / 3) ** 0.5)


@pytest.mark.parametrize("training", [False, True])
def test_a_clip_without_words_does_not_deviate(training: bool) -> None:
    text = torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0]])
    deviations = layer().train(training)(text, ("a.mp4", "new.mp4"))
    assert deviations[0].tolist() == [0, 0] and deviations[1].abs().max() > 0


def batch(clips: int = 3) -> Batch:
    rng = torch.Generator().manual_seed(0)
    return Batch(
        IDS[:clips], audio=torch.randn(clips, 4000, generator=rng), text=torch.randn(clips, 4800, generator=rng)
    )


def fitted(model: ModelConfig) -> StreamNet:
    net = StreamNet("audio-text", model)
    assert net.text_regression is not None
    weight = np.random.default_rng(0).normal(size=(6, 4800)) / 1000
    means = np.linspace(0.3, 0.8, 6)
    net.text_regression.load_fit(RidgeFit(weight, np.zeros(4800), means, np.zeros((3, 6)), 1.0, 0.0), IDS)
    net.initialise_from_scores(np.tile(means, (4, 1)))
    return net.eval()


@pytest.mark.parametrize(("audio_text", "weight"), [("both", 0.5), ("text", 1.0)])
@pytest.mark.parametrize("head", ["cr-block", "plain"])
def test_a_network_starts_from_the_scores_of_the_regression(audio_text: str, weight: float, head: str) -> None:
    net = fitted(replace(MODEL, audio_text=audio_text, head=head))
    regression, clips = net.text_regression, batch()
    assert regression is not None and clips.text is not None
    expected = torch.linspace(0.3, 0.8, 6) + weight * clips.text @ regression.weight.T
    torch.testing.assert_close(net(clips).scores, expected, rtol=0, atol=1e-6)


def test_sound_and_text_are_combined_after_training_only() -> None:
    """Training must not lean on the regression; the weights .7 and .4 come from clips that trained neither."""
    net, clips = fitted(MODEL), batch()
    torch.nn.init.normal_(net.head.score_weight)
    assert net.text_regression is not None
    net.text_regression.weights.copy_(torch.tensor([0.7, 0.4]))
    output, deviations = net.parts(clips)
    means = torch.linspace(0.3, 0.8, 6)
    expected = means + 0.7 * (output.scores - means) + 0.4 * deviations
    torch.testing.assert_close(net(clips).scores, expected, rtol=0, atol=1e-6)
    net.train()
    torch.testing.assert_close(net(clips).scores, net.parts(clips)[0].scores)


@pytest.mark.parametrize(
    ("network", "text", "expected"),
    [
        (1.0, 1.0, (1.0, 1.0)),  # each knows a part of the score: both count in full
        (1.0, 0.0, (1.0, 0.0)),  # the text knows nothing
        (0.0, 1.0, (0.0, 1.0)),  # the network knows nothing, however much it varies
    ],
)
def test_the_weights_of_sound_and_text(network: float, text: float, expected: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    regression, mean = TextRegression(dimensions=3), np.linspace(0.3, 0.8, 6)
    regression.score_mean.copy_(torch.from_numpy(mean))
    parts, noise = 0.1 * rng.normal(size=(2, 2000, 6)), 0.1 * rng.normal(size=(2, 2000, 6))
    truth = mean + network * parts[0] + text * parts[1]
    sound = mean + (parts[0] if network else noise[0])
    regression.fit_weights(sound, parts[1] if text else noise[1], truth)
    np.testing.assert_allclose(regression.weights.numpy(), expected, atol=0.06)


def test_a_network_without_a_text_regression_has_no_parts() -> None:
    with pytest.raises(FormatError, match="no regression of text"):
        StreamNet("audio-text", replace(MODEL, audio_text="audio")).parts(batch())


def test_text_reaches_classes_and_features_at_every_position() -> None:
    net, clips = fitted(MODEL), batch(1)
    assert clips.text is not None
    shuffled = replace(clips, text=clips.text.flip(1))
    assert not torch.allclose(net(clips).logits, net(shuffled).logits)
    assert not torch.allclose(net(clips).features, net(shuffled).features)


def test_sound_counts_only_if_it_is_an_input() -> None:
    clips = batch(1)
    louder = replace(clips, audio=clips.audio * 3)
    both, text = fitted(MODEL), fitted(replace(MODEL, audio_text="text"))
    assert not torch.allclose(both(clips).features, both(louder).features)
    torch.testing.assert_close(text(clips).features, text(louder).features)
    with pytest.raises(FormatError, match="no feature map"):
        text.feature_map(clips)


def test_no_parameter_is_without_a_gradient() -> None:
    for model in (MODEL, replace(MODEL, audio_text="text")):
        net = fitted(model).train()
        torch.nn.init.normal_(net.head.score_weight)  # from zero weights, nothing behind G would have a gradient
        output = net(batch())
        (output.scores.sum() + output.logits.square().sum()).backward()
        assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize("stream", ["scene", "face"])
def test_visual_streams_have_no_text_regression(stream: str) -> None:
    assert StreamNet(stream, MODEL).text_regression is None  # type: ignore[arg-type]
    assert StreamNet("audio-text", replace(MODEL, audio_text="audio")).text_regression is None
