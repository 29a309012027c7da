"""CR-Net: apparent personality from short videos of a person talking to a camera.

    system = crnet.load("runs/paper")
    prediction = system.predict("video.mp4")

Importing this package imports no large library; `load` does.
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
        run: Run folder of `crnet train` or `crnet demo`, or the bundle inside it.
        device: Where the networks run: auto (a GPU if there is one), cpu, cuda or mps.
        encoder: Text encoder of the system, such as `skip-thoughts:FOLDER`, if it has moved since training.
        asr: Speech recognition for videos without a transcript: name or folder of a faster-whisper model.
        precision: float32, or bfloat16 if speed matters more than the last digits; see `Predictor`.

    Returns:
        A predictor: `predict(path)` scores one video, `predict_many(paths)` several.

    Raises:
        FormatError: The system is missing or damaged; the message names the file.
        ConfigError: The device is not available, or the text encoder has other weights than in training.
        MissingDependencyError: The text encoder or the speech recognition needs a package that is not installed.
    """
    from pathlib import Path

    from crnet.bundle.verify import BundleFiles

    files = BundleFiles(Path(run))  # hashes the files while torch is being imported
    from crnet.bundle.load import load_bundle
    from crnet.predict import Predictor
    from crnet.utils.device import choose_device

    recogniser = None
    if asr is not None:
        from crnet.text.asr import FasterWhisper

        recogniser = FasterWhisper(asr)
    return Predictor(load_bundle(Path(run), files), choose_device(device), encoder, recogniser, precision)
