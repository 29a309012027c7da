"""`crnet train`: train a system on a clip store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crnet.cli.exit_codes import EXIT_DONE
from crnet.cli.terminal import bars
from crnet.errors import UsageError

if TYPE_CHECKING:
    pass


def train(
    data: Path,
    run: Path,
    /,
    *,
    preset: str = "paper",
    streams: str = "scene,face,audio-text",
    seed: int | None = None,
    init: Path | None = None,
    protocol: str = "official",
    **parts: Any,
) -> int:
    """Train the streams and the fusion on a clip store.

    Both stages of every stream, then extra-trees, then one bundle that `crnet predict` and `crnet evaluate` load.
    Stopped at any moment, the same command goes on where it was and ends the same. For several GPUs, start it with
    torchrun --nproc-per-node 4 -m crnet train DATA RUN.

    Args:
        data: A store made by `crnet prepare`.
        run: The run's folder.
        preset: Where every value below starts from: paper (full size), small (learns in minutes on two cores), tiny.
        streams: Which of scene, face and audio-text, with commas.
        seed: Of everything random: weights, order, frames, trees; by default 0.
        init: Weights for the visual backbones, a torchvision-format ResNet-34 as safetensors.
        protocol: Which clips train: official splits, video-disjoint, identity-disjoint, or one fold of several, such as
            grouped-kfold:5:1. `crnet evaluate` then tests on the clips that are left.
    """
    from crnet.config import PRESETS, with_seed
    from crnet.data.splits import SplitProtocol
    from crnet.train import train_system
    from crnet.types import STREAMS

    names = tuple(name.strip() for name in streams.split(","))
    if not set(names) <= set(STREAMS):
        raise UsageError(f"unknown stream in {streams!r}", remedy=f"name some of {','.join(STREAMS)}")
    config = replace(PRESETS[preset], streams=tuple(s for s in STREAMS if s in names), **parts)  # type: ignore[index]
    if init is not None:
        config = replace(config, model=replace(config.model, init=init))
    if seed is not None:
        config = with_seed(config, seed)
    with bars() as progress:
        bundle = train_system(data, run, config, progress, protocol=SplitProtocol.parse(protocol))
    if bundle is not None:
        print(f"trained: {bundle.path}; next: crnet evaluate {run} {data}")
    return EXIT_DONE
