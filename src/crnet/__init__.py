"""CR-Net: apparent personality from short videos of a person talking to a camera.

    system = crnet.load("runs/paper")
    prediction = system.predict("video.mp4")

Importing this package imports nothing heavy; `load` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from crnet.predict import Predictor
    from crnet.utils.device import Precision

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(
    run: Path | str,
    device: str = "auto",
    *,
    encoder: str | None = None,
    asr: str | None = None,
    precision: Precision = "float32",
) -> Predictor:
    """Load a trained system.

    Args:
        run: A run folder made by `crnet train` (or `crnet demo`), or the bundle in it.
        device: Where the networks compute: auto (a GPU if there is one), cpu, cuda or mps.
        encoder: Where the weights of its text encoder are now, such as `skip-thoughts:FOLDER`, if not where they were.
        asr: Speech recognition for videos without a transcript: name or folder of a model for faster-whisper.
        precision: float32, or bfloat16 where speed counts more than the last digits, see `Predictor`.

    Returns:
        A predictor; `predict(path)` scores a video.

    Raises:
        FormatError: No system there, or a damaged one; the message names the file.
        ConfigError: The device is not there, or the text encoder has other weights than in training.
        MissingDependencyError: The text encoder or the speech recognition needs a package that is not installed.
    """
    from pathlib import Path

    from crnet.bundle.verify import BundleFiles

    files = BundleFiles(Path(run))  # hashed while torch is imported
    from crnet.bundle.bundle import load_bundle
    from crnet.predict import Predictor
    from crnet.training.distributed import choose_device

    recogniser = None
    if asr is not None:
        from crnet.text.asr import FasterWhisper

        recogniser = FasterWhisper(asr)
    return Predictor(load_bundle(Path(run), files), choose_device(device), encoder, recogniser, precision)
