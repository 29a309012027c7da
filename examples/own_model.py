"""Use the CR-block and the losses of the paper in a PyTorch model of your own. No video is read.

python examples/own_model.py [--epochs 30]

The data are 600 points of 20 numbers with two scores in [0, 1] each, named as you like. The small network learns them
with the two stages of the paper: first the classes alone, then everything.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch import nn

from crnet import metrics
from crnet.models import CRBlock, bell_loss, class_indices, classification_loss, l1_loss

TARGETS = ["warmth", "competence"]
TRAIN, FEATURES, WIDTH = 400, 20, 64


class OwnModel(nn.Module):
    """Two layers of your own, then a CR-block for two targets."""

    def __init__(self, scores: np.ndarray) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(FEATURES, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
        self.block = CRBlock(width=WIDTH, classes=4, targets=len(TARGETS))
        self.block.initialise_from_scores(scores)  # far from the labels, the Bell loss has no gradient

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return class logits [B, 2, 4] and scores [B, 2] of inputs [B, 20]."""
        _, logits, scores = self.block(self.body(x))
        return logits, scores


def make_data(seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """Return inputs [600, 20] and scores [600, 2], of which half can be known from the inputs."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(600, FEATURES))
    signal = x @ rng.normal(size=(FEATURES, 2)) / np.sqrt(FEATURES)
    scores = np.clip(0.5 + 0.12 * signal + 0.05 * rng.normal(size=signal.shape), 0, 1)
    return torch.tensor(x, dtype=torch.float32), scores


def train(model: OwnModel, x: torch.Tensor, truth: np.ndarray, epochs: int) -> None:
    """Train the classes for a third of the epochs, then everything."""
    scores = torch.tensor(truth, dtype=torch.float32)
    classes = torch.from_numpy(class_indices(truth))  # in float64: in float32, 0.7 falls below its edge
    optimizer = torch.optim.Adam(model.parameters(), lr=0.002)
    for epoch in range(epochs):
        for batch in torch.randperm(len(x)).split(40):
            logits, predicted = model(x[batch])
            loss = classification_loss(logits, classes[batch])
            if epoch >= epochs // 3:
                loss = loss + bell_loss(predicted, scores[batch]) + l1_loss(predicted, scores[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def main(epochs: int) -> dict[str, dict[str, float]]:
    """Train, and compare with the floor: the median of the training scores for everybody."""
    torch.manual_seed(0)
    x, truth = make_data()
    model = OwnModel(truth[:TRAIN])
    train(model, x[:TRAIN], truth[:TRAIN], epochs)
    with torch.no_grad():
        predicted = model(x[TRAIN:])[1].numpy()
    floor = np.median(truth[:TRAIN], axis=0)
    table = metrics.describe(truth[TRAIN:], predicted, floor, targets=TARGETS, resamples=300)
    for target in TARGETS:
        values = table[target]
        low, high = values["ci95"]["error_removed"]
        print(
            f"{target}: MAE {values['mae']:.3f}, removes {values['error_removed']:.0%} of the floor's error"
            f" (95% interval {low:.0%} to {high:.0%})"
        )
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=30)
    main(parser.parse_args().epochs)
