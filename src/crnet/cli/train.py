"""`crnet train`: train a system on a clip store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Self

from tyro.conf import Positional

from crnet.cli.configuration import ConfiguredCommand
from crnet.cli.exit_codes import EXIT_DONE
from crnet.cli.options import ConfiguredSeed, Flag, Store, Workers, option
from crnet.cli.progress import progress_display
from crnet.config import Config, with_seed
from crnet.errors import UsageError
from crnet.types import STREAMS
from crnet.utils.suggestions import did_you_mean


@dataclass(frozen=True)
class Train(ConfiguredCommand):
    """Train the streams and the fusion on a clip store.

    Trains both stages of every stream, then the fusion, and writes one bundle that `crnet predict` and `crnet
    evaluate` load. If it is interrupted, run the same command again to continue; the result is the same. To train on
    several GPUs, run `torchrun --nproc-per-node 4 -m crnet train STORE RUN`; for several nodes, see docs/scale.md.
    """

    resumes = True

    store: Store
    run: Annotated[Positional[Path], option("Folder for the new run.")]
    streams: Annotated[str, option("Streams to train, separated by commas.", "STREAM,...")] = ",".join(STREAMS)
    protocol: Annotated[
        str,
        option(
            "How clips are assigned to splits: official, video-disjoint, identity-disjoint, or grouped-kfold:K:I (fold "
            "I of K, counted from 1, is the test split). `crnet evaluate` uses the same splits.",
            "PROTOCOL",
        ),
    ] = "official"
    seed: ConfiguredSeed = None
    workers: Workers = None
    no_tensorboard: Annotated[Flag, option("Do not write TensorBoard files.")] = False

    @classmethod
    def with_configuration(cls, config: Config, **fields: Any) -> Self:
        """Return an instance with the fields of a configuration; its required arguments are still missing."""
        return super().with_configuration(config, streams=",".join(config.streams), **fields)

    def __call__(self) -> int:
        """Train the system, or finish a run that was stopped."""
        from crnet.data.splits import SplitProtocol
        from crnet.train import train_system

        config, protocol = self.configuration(), SplitProtocol.parse(self.protocol)
        with progress_display(self.quiet) as progress:
            bundle = train_system(self.store, self.run, config, progress, protocol=protocol)
        if bundle is not None:
            print(f"trained: {bundle.path}; next: crnet evaluate {self.run} {self.store}")
        return EXIT_DONE

    def configuration(self) -> Config:
        """Return the configuration; the short options override the fields that they stand for.

        Raises:
            UsageError: A stream is unknown.
            ConfigError: The values contradict each other.
        """
        names = [name.strip() for name in self.streams.split(",")]
        for name in names:
            if name not in STREAMS:
                hint = did_you_mean(name, STREAMS) or f"choose from {', '.join(STREAMS)}"
                raise UsageError(f"unknown stream {name!r}", remedy=hint)
        config = self.overridden(tuple(stream for stream in STREAMS if stream in names))
        training = config.training
        if self.workers is not None:
            training = replace(training, workers=self.workers)
        if self.no_tensorboard:
            training = replace(training, tensorboard=False)
        config = replace(config, training=training)
        return config if self.seed is None else with_seed(config, self.seed)
