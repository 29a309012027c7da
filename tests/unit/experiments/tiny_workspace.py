"""The smallest configuration with all parts of CR-Net."""

from __future__ import annotations

from crnet.config import Config
from crnet.fusion.fusion import FusionConfig
from tiny_training import TINY_MODEL, TINY_TRANSFORMS, tiny_training

TINY = Config(
    transforms=TINY_TRANSFORMS,
    model=TINY_MODEL,
    training=tiny_training(epochs=(1, 1), batch_size=6, threads=1),
    fusion=FusionConfig(trees=3, max_features=8),
)
