"""Which moments of the sound raise or lower the scores of the audio-text stream: integrated gradients.

Integrated gradients (Sundararajan et al. 2017) follow the score from silence to the sound and give each sample its
share. The shares add up to the difference between the two scores. Plain gradient x input does not: a network of ReLUs
and batch norm has flat regions where its score no longer changes. Silence is the natural baseline, because the network
knows it from the padding of shorter clips. The words stay unchanged.

captum's `IntegratedGradients` gives the same numbers (the tests compare them), but repeats every forward pass for each
of the six targets: 1.6 times the processor time of the slowest step of an explanation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crnet.types import SAMPLE_RATE_HZ, TARGETS, Batch
from crnet.utils.progress import Progress, no_progress

if TYPE_CHECKING:
    from jaxtyping import Float32

    from crnet.models.crnet import StreamNet

STEPS = 16  # points between silence and the sound
BIN_S = 0.1


@dataclass(frozen=True, eq=False)
class SoundAttribution:
    """The effect of the sound on the audio-text stream's own scores.

    Attributes:
        bins: float32 [6, n], order of `TARGETS`, sums over bins of `BIN_S` seconds; they add up to about `total`.
        total: float32 [6], the scores with the sound minus those with silence.
    """

    bins: Float32[np.ndarray, "6 n"]
    total: Float32[np.ndarray, " 6"]

    @property
    def gap(self) -> float:
        """The largest difference between the sum of the bins and the total: the price of few steps."""
        return float(np.abs(self.bins.sum(axis=1) - self.total).max())


def attribute_sound(
    net: StreamNet, batch: Batch, audio_samples: int, steps: int = STEPS, progress: Progress = no_progress
) -> SoundAttribution:
    """Compute integrated gradients of the six scores of an audio-text stream.

    Args:
        net: The trained stream, in evaluation mode.
        batch: One clip on the network's device.
        audio_samples: Number of samples that are sound; the rest is padding.
        steps: Points between silence and the sound; more of them add up more exactly.
        progress: Called after every step.
    """
    import torch

    assert batch.audio is not None and batch.text is not None  # noqa: S101
    audio = batch.audio
    gradients = torch.zeros(len(TARGETS), audio.shape[1], device=audio.device)
    for step in range(steps):
        point = ((step + 0.5) / steps * audio).requires_grad_(True)
        with torch.enable_grad():
            scores = net(Batch(batch.clip_ids, audio=point, text=batch.text)).scores[0]
            for target, score in enumerate(scores):
                gradients[target] += torch.autograd.grad(score, point, retain_graph=target + 1 < len(scores))[0][0]
        progress("measuring the effect of the sound", step + 1, steps)
    with torch.inference_mode():
        with_sound, with_silence = (
            net(Batch(batch.clip_ids, audio=signal, text=batch.text)).scores[0] for signal in (audio, 0 * audio)
        )
    values = (gradients / steps * audio[0]).float().cpu().numpy()
    return SoundAttribution(_binned(values, audio_samples), (with_sound - with_silence).float().cpu().numpy())


def _binned(values: Float32[np.ndarray, "6 L"], audio_samples: int) -> Float32[np.ndarray, "6 n"]:
    size = round(BIN_S * SAMPLE_RATE_HZ)
    count = max(-(-audio_samples // size), 1)
    padded = np.zeros((len(values), count * size), np.float32)
    length = min(count * size, values.shape[1])
    padded[:, :length] = values[:, :length]
    return padded.reshape(len(values), count, size).sum(axis=2)
