"""Print the peak memory of a worker of `prepare`: `python -m benchmarks.peak_memory CLIP ...` in its own process.

Imports no more than such a worker does.
"""

from __future__ import annotations

import sys
from pathlib import Path

from crnet.data.extract import extract_clip
from crnet.data.store import ClipFile, write_clip
from crnet.media.settings import MediaSettings
from crnet.text.hashed_ngrams import HashedNgrams
from crnet.utils.process_memory import peak_mib


def main(clips: list[Path]) -> None:
    """Write a clip file of each video, all frames kept, read it back, and print the peak memory in MiB (2^20 bytes)."""
    for path in clips:
        clip = extract_clip(path, clip_id=path.name, transcript="", encoder=HashedNgrams(), settings=MediaSettings())
        stored = path.with_suffix(".safetensors")
        write_clip(stored, clip)
        del clip
        ClipFile(stored).check()
        stored.unlink()
    sys.stdout.write(f"{peak_mib()}\n")


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
