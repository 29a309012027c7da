"""The process that scores what strangers send: it loads the system once and forks a child for every video.

    python -m crnet.serve.worker JSON     # started by `crnet.serve.worker_client` with a socket as its standard input

A fork shares the loaded system, so it starts in milliseconds, knows nothing of other videos, can be limited and killed
alone, and gives all its memory back. The child tells its progress as JSON lines into a pipe that came with the order.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from crnet.errors import CrnetError, MediaError
from crnet.serve.limits import BYTES_PER_MB, Limits
from crnet.utils.files import read_json, write_json, write_text

if TYPE_CHECKING:
    from crnet.explain.explain import VideoExplanation
    from crnet.predict import Predictor

logger = logging.getLogger(__name__)

ORDER_FILE, VIDEO_FILE, OUT_FOLDER = "order.json", "video", "out"
PREDICTION_JSON, PREDICTION_CSV = "prediction.json", "prediction.csv"
LONGEST_PATH_BYTES = 4096
MOST_OPEN_FILES = 256
LARGEST_RESULT_BYTES = 512 * BYTES_PER_MB
TELL_EVERY_S = 0.1
EXPLAINING = "explaining"
PICTURES = (".png", ".mp4")
LONGEST_NAME = 60

OUT_OF_MEMORY = "scoring this video needs more memory than the server grants"
# How torch, oneDNN, C++, FFmpeg and Linux say it.
SIGNS_OF_NO_MEMORY = ("allocate memory", "Cannot allocate", "could not create a", "bad_alloc", "can't start new thread")
OUT_OF_MEMORY_REMEDY = "send it smaller: fewer pixels, or shorter"
BUG = "the video could not be scored because of a fault in the program; the server's log says which"

Tell = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Order:
    """What to do with the video of a job's folder.

    Attributes:
        name: What the visitor calls the video; shown, never opened.
        transcript: What is said; "" if nobody knows.
        explain: Also make heat maps, contributions and the report.
        limits: What the job may take.
        threads: Of computation.
    """

    name: str
    transcript: str
    explain: bool
    limits: Limits
    threads: int

    def write(self, folder: Path) -> None:
        """Put the order into a job's folder."""
        write_json(folder / ORDER_FILE, asdict(self))

    @staticmethod
    def read(folder: Path) -> Order:
        """The order in a job's folder."""
        document = read_json(folder / ORDER_FILE, "an order")
        return Order(**{**document, "limits": Limits(**document["limits"])})


def main() -> None:
    """Load the system, say so, and serve orders until the other end of the socket closes."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    orders = socket.socket(fileno=0)
    # A fork cannot use the GPU that its parent has opened, and a GPU's address space is beyond any limit on memory.
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    try:
        predictor = load(**json.loads(sys.argv[1]))
    except CrnetError as error:
        failure = {"kind": type(error).__name__, "reason": error.reason, "remedy": error.remedy}
        orders.sendall(json.dumps({**failure, "path": None if error.path is None else str(error.path)}).encode())
        return
    orders.sendall(json.dumps({"ready": facts(predictor)}).encode())
    while True:
        folder, descriptors, _, _ = socket.recv_fds(orders, LONGEST_PATH_BYTES, 1)
        if not folder:
            return
        with os.fdopen(descriptors[0], "w", encoding="utf-8") as answers:
            child = os.fork()
            if child == 0:
                orders.close()
                _work(predictor, Path(folder.decode()), answers)
            _, status = os.waitpid(child, 0)
            # A child that was killed may have stopped in the middle of a line.
            with contextlib.suppress(BrokenPipeError):
                answers.write("\n" + json.dumps({"exit": os.waitstatus_to_exitcode(status)}) + "\n")
                answers.flush()


def load(run: str, encoder: str | None = None, asr: str | None = None) -> Predictor:
    """The system, with everything imported that a child would have to import; see `crnet.load`.

    A speech model starts threads, so each child that needs it loads it for itself.

    Raises:
        CrnetError: There is none, or it is damaged.
    """
    import torch

    # Threads do not survive a fork: none may be started before it.
    torch.set_num_threads(1)
    import crnet.explain.explain
    import crnet.media.reader
    import crnet.report.video_report

    return crnet.load(run, encoder=encoder, asr=asr)


def facts(predictor: Predictor) -> dict[str, Any]:
    """What the page says of the system."""
    bundle = predictor.bundle
    return {
        "listens": predictor.recogniser is not None,
        "training_source": bundle.training_source,
        "streams": list(bundle.nets),
        "run": "" if bundle.path is None else bundle.path.parent.name,
    }


def _work(predictor: Predictor, folder: Path, answers: IO[str]) -> None:
    """A child's whole life."""
    code = 1
    try:
        os.setsid()

        def tell(message: dict[str, Any]) -> None:
            answers.write(json.dumps(message) + "\n")
            answers.flush()

        tell({"pid": os.getpid()})
        code = 0 if carry_out(predictor, folder, tell) else 1
    except BaseException:
        logger.exception("a child has failed")
    finally:
        with contextlib.suppress(OSError):
            answers.flush()
        os._exit(code)


def carry_out(predictor: Predictor, folder: Path, tell: Tell) -> bool:
    """Do an order within its limits; failures are told in one sentence.

    Returns:
        Whether it was done.
    """
    order = Order.read(folder)
    try:
        limit_this_process(order.limits, order.threads)
        tell({"result": score(predictor, folder, order, Throttle(tell))})
        return True
    except CrnetError as error:
        tell({"error": said(error)})
    except MemoryError:
        tell({"error": f"{OUT_OF_MEMORY} ({OUT_OF_MEMORY_REMEDY})"})
    except Exception as error:
        if any(sign in str(error) for sign in SIGNS_OF_NO_MEMORY):
            tell({"error": f"{OUT_OF_MEMORY} ({OUT_OF_MEMORY_REMEDY})"})
        else:
            logger.exception("unexpected error while scoring")
            tell({"error": BUG})
    return False


def said(error: CrnetError) -> str:
    """An error for a stranger: without the paths of this machine."""
    return error.reason if error.remedy is None else f"{error.reason} ({error.remedy})"


def score(predictor: Predictor, folder: Path, order: Order, progress: Throttle) -> dict[str, Any]:
    """Score the folder's video and leave the files of the result in its `out`.

    Returns:
        `prediction`, the document that `crnet predict --json` prints, and `explanation` (see `_shown`) or None.

    Raises:
        MediaError: Not a video, or one that is too long.
    """
    from crnet.explain.explain import explain_video
    from crnet.media.video import probe
    from crnet.report.prediction_table import prediction_table

    out = folder / OUT_FOLDER
    out.mkdir()
    # Reports tell the path of their video: relative, it tells nothing of this machine.
    (folder / VIDEO_FILE).rename(folder / plain_name(order.name))
    os.chdir(folder)
    video = Path(plain_name(order.name))
    progress("checking the file", 0, 1)
    duration_s = probe(video).duration_s
    if duration_s > order.limits.duration_s:
        raise MediaError(
            f"the video is {duration_s:.0f} s long, and this server takes at most {order.limits.duration_s:.0f} s",
            remedy="cut it",
        )
    progress("checking the file", 1, 1, f"{duration_s:.1f} s of video")
    said_in = _transcript_file(order.transcript)
    explanation = None
    if order.explain:
        explained = explain_video(predictor, video, out, transcript=said_in, progress=progress)
        prediction, explanation = explained.prediction, _shown(explained)
    else:
        progress("reading and scoring the video", 0, 1)
        prediction = predictor.predict(video, said_in)
    prediction = replace(prediction, clip=order.name)
    write_json(out / PREDICTION_JSON, prediction.to_dict())
    with prediction_table(out / PREDICTION_CSV) as write:
        write(prediction)
    return {"prediction": prediction.to_dict(), "explanation": explanation}


def plain_name(name: str) -> str:
    """What a visitor calls a video, as the name of a file that no program takes for anything else."""
    return "video_" + "".join(c if c.isascii() and c.isalnum() else "_" for c in Path(name).stem)[:LONGEST_NAME]


def _shown(explained: VideoExplanation) -> dict[str, Any]:
    """The part of an explanation that the page shows: base, contributions by target and stream, names of pictures."""
    parts = explained.contributions
    return {
        "base": dict(parts.base),
        "contributions": {target: dict(streams) for target, streams in parts.streams.items()},
        "target": explained.target,
        "pictures": sorted(path.name for path in explained.files.values() if path.suffix in PICTURES),
    }


def _transcript_file(text: str) -> Path | None:
    """The transcript as a file, since a text that a stranger sends may look like the name of one of ours.

    None without words: then the system listens, if it can.
    """
    if not text.strip():
        return None
    path = Path("transcript.srt" if "-->" in text else "transcript.txt")
    write_text(path, text)
    return path


class Throttle:
    """A `Progress` that tells every new task, and steps of it not more often than a person can read."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._task = ""
        self._told_s = 0.0

    def __call__(self, task: str, done: int, total: int, note: str = "") -> None:
        """See `crnet.utils.progress.Progress`."""
        if task == EXPLAINING:  # whose steps are worth a line each
            task, done, total, note = note, int(done >= total), 1, ""
        now_s = time.monotonic()
        if task != self._task or done >= total or now_s - self._told_s > TELL_EVERY_S:
            self._task, self._told_s = task, now_s
            self._tell({"task": task, "done": done, "total": total, "note": note})


def limit_this_process(limits: Limits, threads: int) -> None:
    """Bound what this process may take from here on, on systems that can."""
    import torch

    torch.set_num_threads(threads)
    cpu_s = int(limits.time_s * (threads + 1)) + 1
    wanted = {
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: MOST_OPEN_FILES,
        resource.RLIMIT_FSIZE: LARGEST_RESULT_BYTES,
    }
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        wanted[resource.RLIMIT_AS] = pages * resource.getpagesize() + limits.memory_mb * BYTES_PER_MB
    for kind, value in wanted.items():
        _, hard = resource.getrlimit(kind)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


if __name__ == "__main__":
    main()
