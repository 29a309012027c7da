"""Arguments that several commands share, so that one name means the same everywhere and has one help sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from tyro.conf import DisallowNone, FlagCreatePairsOff, Positional, arg

from crnet.errors import UsageError
from crnet.text.encoders import supported_names
from crnet.utils.device import Device, Precision
from crnet.utils.path_checks import on_disk
from crnet.utils.storage import as_path

GLOBAL_FLAGS = ("-v", "--verbose", "-q", "--quiet", "--debug")
HELP_FLAGS = ("-h", "--help")


def option(help: str, metavar: str | None = None, short: str | None = None) -> Any:
    """Return the help of an option, which names its default only if that says something."""

    def default_hint(default: str) -> str:
        return "" if default in ("", "None", "False") else f"(default: {default})"

    return arg(help=help, metavar=metavar, aliases=(short,) if short else None, help_behavior_hint=default_hint)


Flag = Annotated[bool, FlagCreatePairsOff]
"""An option without a value, off by default. Its name says what giving it does."""

Store = Annotated[Positional[Path], arg(help="Clip store made by `crnet prepare`.")]
RunFolder = Annotated[Positional[Path], arg(help="Run folder created by `crnet train` or `crnet demo`, or its bundle.")]

OptionalRun = Annotated[Positional[Path | None], DisallowNone, option("Run folder created by `crnet train`.")]
OptionalStore = Annotated[Positional[Path | None], DisallowNone, option("Clip store made by `crnet prepare`.")]
PredictionsTable = Annotated[
    Path | None,
    option("Predictions of any system: a CSV with the column clip and any of the six targets.", "P.csv"),
]
LabelsTable = Annotated[
    Path | None,
    option("Labels of the clips: a CSV with the same columns, or an annotation_*.pkl of the release.", "L.csv"),
]
TrainLabels = Annotated[
    Path | None,
    option(
        "Labels of the training clips, whose median is the floor. By default the floor of the first run, or else the "
        "median of the labels.",
        "T.csv",
    ),
]
Licence = Annotated[
    str | None, option("Licence of the weights, by its identifier on the Hub, such as cc-by-nc-4.0.", "ID")
]
Provider = Annotated[str | None, option("Who is responsible for the model.", "NAME")]
Resamples = Annotated[int, option("Number of bootstrap resamples.")]

_DEVICE = option("Where the networks run; auto uses a GPU if there is one.")
DeviceOption = Annotated[Device, _DEVICE]
PrecisionOption = Annotated[
    Precision,
    option(
        "auto is float32, so that a clip gets the same score on every machine. bfloat16 is faster on CPUs with native "
        "bfloat16 support, and refused on others; it changed scores by at most 0.003 in systems trained on at least "
        "480 clips."
    ),
]
_BATCH_SIZE = option("Examples per training step.")
_EPOCHS = option("Number of epochs: passes over the training data.")
_SEED = option("Random seed.")

BatchSize = Annotated[int, _BATCH_SIZE]
Seed = Annotated[int, _SEED]
Epochs = Annotated[int, _EPOCHS]
Workers = Annotated[
    int | None,
    DisallowNone,
    option(
        "Number of parallel worker processes; 0 does all the work in this process. Results do not depend on it. "
        "By default, crnet chooses."
    ),
]
Engine = Annotated[
    str,
    option(
        "Where the workers run: local (this machine), ray (the cluster of RAY_ADDRESS, or one that runs here) or "
        "ray://HOST:PORT. Results do not depend on it (docs/scale.md).",
        "local|ray[://HOST:PORT]",
    ),
]

MaxTime = Annotated[
    float,
    option(
        "Longest time for reading one file, in seconds; each MB of the file adds 3 s. A file that takes longer fails, "
        "and the others are still read."
    ),
]
MaxMemory = Annotated[
    int, option("Most memory that the process reading a file may take, in MB (on Linux). A file that needs more fails.")
]

# The same options where the configuration has the default.
ConfiguredBatchSize = Annotated[int | None, DisallowNone, _BATCH_SIZE]
ConfiguredEpochs = Annotated[int | None, DisallowNone, _EPOCHS]
ConfiguredSeed = Annotated[int | None, DisallowNone, _SEED]
ConfiguredDevice = Annotated[Device | None, DisallowNone, _DEVICE]
Json = Annotated[Flag, option("Print the result as JSON on stdout.")]
SplitOption = Annotated[Literal["train", "val", "test"], option("Split to use.")]
PresetOption = Annotated[
    Literal["tiny", "small", "paper", "paper-stable"],
    option(
        "Starting configuration: paper (full size), paper-stable (the same with precise batch norm), small (trains in "
        "minutes on two cores) or tiny."
    ),
]
ConfigFile = Annotated[
    Path | None,
    option("YAML file with configuration fields; it overrides the preset, and options override it.", "FILE.yaml"),
]
Transcript = Annotated[
    str | None,
    option("The spoken words, or a .txt, .srt, .vtt or .ass file. By default, one with the video's name.", "TEXT|FILE"),
]
Asr = Annotated[
    str | None,
    option("Speech recognition for videos without a transcript: name or folder of a faster-whisper model.", "MODEL"),
]
AllowMissing = Annotated[
    Flag,
    option(
        "Continue even if labelled clips are not in the store or have no predictions, and show n with every figure."
    ),
]
AllowNoFace = Annotated[Flag, option("Also score still pictures, and videos without a face in any frame.")]
NewEncoder = Annotated[
    str,
    option(
        f"Text encoder for transcripts (docs/text.md): {supported_names()}. Hashed n-grams are an offline stand-in for "
        "skip-thoughts, which the paper uses.",
        "ENCODER",
    ),
]
EncoderLocation = Annotated[
    str | None,
    option("New location of the text encoder, such as skip-thoughts:FOLDER, if it moved after training.", "ENCODER"),
]


def check_resamples(resamples: int) -> None:
    """Refuse numbers of resamples that say nothing, or never end.

    Raises:
        UsageError: The number is too small or too large.
    """
    if not 100 <= resamples <= 100_000:
        raise UsageError(f"{resamples} resamples", remedy="choose 100 to 100000")


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command of the command line: its fields are the arguments, and calling it does the work.

    Attributes:
        resumes: Whether rerunning the command after an interruption resumes its work.
        urls: The arguments that may be in object storage.
        extras: The extras of the package that the command always needs; an error about a missing one names all.
    """

    resumes: ClassVar[bool] = False
    urls: ClassVar[tuple[str, ...]] = ("source", "store")
    extras: ClassVar[tuple[str, ...]] = ()

    verbose: Annotated[Flag, option("Log details.", short="-v")] = False
    quiet: Annotated[Flag, option("Log only warnings and show no progress.", short="-q")] = False
    debug: Annotated[Flag, option("Show the traceback of an error.")] = False

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, Path):
                path = as_path(value) if name in self.urls else on_disk(value, name.upper())
                object.__setattr__(self, name, path)

    @classmethod
    def defaults(cls, words: Sequence[str]) -> Self | None:
        """Return an instance whose fields are the defaults for these words; None keeps the defaults of the class."""
        return None

    def __call__(self) -> int:
        """Do the work and return the exit code."""
        raise NotImplementedError

    def stopped(self) -> str:
        """Return what to say after Ctrl-C."""
        return "stopped" + ("; run the same command again to continue" if self.resumes else "")
