"""Scoring process: it loads the system once and forks a child for every video.

    python -m crnet.serve.worker JSON PIPE    # started by `crnet.serve.worker_client`; standard input is a socket

It ends when the server closes the pipe or is killed, and so does the child that runs then.

A fork shares the loaded system. It therefore starts in milliseconds, sees no other video, can be limited and killed on
its own, and frees all its memory at the end. The child writes its messages as JSON lines to a pipe that comes with the
job.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import math
import os
import resource
import socket
import sys
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from crnet.errors import CrnetError, MediaError, NotScoredError, StorageError
from crnet.serve.limits import Limits
from crnet.serve.log_format import log_as_json
from crnet.serve.progress import CHECKING, READING, SCORES_READY, MessageHandler, ThrottledProgress
from crnet.utils.files import read_json, write_json, write_text
from crnet.utils.job_limits import BYTES_PER_MB
from crnet.utils.process_pool import end_at_hangup

if TYPE_CHECKING:
    from crnet.predict import Predictor
    from crnet.types import Prediction

logger = logging.getLogger(__name__)

JOB_FILE, VIDEO_FILE, OUT_FOLDER = "job.json", "video", "out"
PREDICTION_JSON, PREDICTION_CSV = "prediction.json", "prediction.csv"
MAX_PATH_BYTES = 4096
MAX_OPEN_FILES = 256
MAX_RESULT_BYTES = 512 * BYTES_PER_MB
MAX_NAME_LENGTH = 60
OVERLAY_TARGET = "interview"  # the target that the overlay video shows
OUT_OF_MEMORY = "scoring this video needs more memory than the server allows"
# Phrases that torch, oneDNN, OpenVINO, C++, FFmpeg and Linux use when memory runs out.
MEMORY_SIGNS = (
    "allocate memory",
    "Failed to allocate",
    "Cannot allocate",
    "could not create a",
    "bad_alloc",
    "can't start new thread",
    "failed to map segment",
    "Resource temporarily unavailable",  # no memory for the stack of a thread
)
NO_SPACE = "the server has no space for the result (try again in a few minutes)"
NOT_SCORED_REMEDY = "send a video that shows the face of a person who talks"
OUT_OF_MEMORY_REMEDY = "send a shorter video or one with a lower resolution"
BUG = (
    "the video could not be scored because of an internal error; the server's administrator can find details in the log"
)


@dataclass(frozen=True)
class ScoringJob:
    """Job for the video in a job folder.

    Attributes:
        name: Name that the visitor gave the video; displayed, never opened.
        transcript: Spoken words; "" if unknown.
        explain: Also produce heat maps, contributions and the report.
        limits: Resource limits.
        threads: Number of computing threads.
        allow_no_face: As in `Predictor.predict`.
    """

    name: str
    transcript: str
    explain: bool
    limits: Limits
    threads: int
    allow_no_face: bool = False

    def write(self, folder: Path) -> None:
        """Write the job to its folder."""
        write_json(folder / JOB_FILE, asdict(self))

    @staticmethod
    def read(folder: Path) -> ScoringJob:
        """Read the job from its folder."""
        document = read_json(folder / JOB_FILE, "a job")
        return ScoringJob(**{**document, "limits": Limits(**document["limits"])})


def main() -> None:
    """Load the system, report that it is ready, and run jobs until the other end closes the socket."""
    log_as_json("")
    logging.captureWarnings(True)
    jobs, server = socket.socket(fileno=0), int(sys.argv[2])
    end_at_hangup(server)
    # A fork cannot use a GPU that its parent has opened, and a GPU's address space exceeds any memory limit.
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    try:
        predictor = load(**json.loads(sys.argv[1]))
    except CrnetError as error:
        failure = {"kind": type(error).__name__, "reason": error.reason, "remedy": error.remedy}
        jobs.sendall(json.dumps({**failure, "path": None if error.path is None else str(error.path)}).encode())
        return
    jobs.sendall(json.dumps({"ready": system_info(predictor)}).encode())
    while True:
        folder, descriptors, _, _ = socket.recv_fds(jobs, MAX_PATH_BYTES, 1)
        if not folder:
            return
        with os.fdopen(descriptors[0], "w", encoding="utf-8") as messages:
            child = os.fork()
            if child == 0:
                jobs.close()
                _run_child(predictor, Path(folder.decode()), messages, server)
            _, status = os.waitpid(child, 0)
            # A killed child may have stopped in the middle of a line.
            with contextlib.suppress(BrokenPipeError):
                messages.write("\n" + json.dumps({"exit": os.waitstatus_to_exitcode(status)}) + "\n")
                messages.flush()


def load(run: str, encoder: str | None = None, asr: str | None = None) -> Predictor:
    """Load the system as `crnet.load` does, and import everything that a child needs.

    Children are forked, and neither CUDA nor threads survive a fork: the networks run on the CPU, and each child
    compiles them itself, which starts threads, and loads the speech model if it needs one.

    Raises:
        CrnetError: The system is missing or damaged.
    """
    import crnet.explain.explain
    import crnet.media.reader
    import crnet.report.video_report
    from crnet.bundle.stored_networks import why_no_gradients
    from crnet.utils.openvino_runtime import load_plugin

    load_plugin()
    predictor = crnet.load(run, "cpu", encoder=encoder, asr=asr)
    if why_no_gradients(predictor.bundle.networks) is None:
        _set_torch_threads(1)  # before anything computes
        import_module("crnet.explain.heat_maps")
        for stream in predictor.bundle.networks:
            predictor.bundle.networks[stream]
    return predictor


def _set_torch_threads(threads: int) -> None:
    """Set the number of PyTorch's threads; only heat maps need PyTorch."""
    import_module("torch").set_num_threads(threads)


def system_info(predictor: Predictor) -> dict[str, Any]:
    """Return the facts about the system that the page displays."""
    from crnet.bundle.stored_networks import why_no_gradients

    bundle = predictor.bundle
    return {
        "recognises_speech": predictor.recogniser is not None,
        "heat_maps": why_no_gradients(bundle.networks) is None,
        "training_source": bundle.training_source,
    }


def _run_child(predictor: Predictor, folder: Path, messages: IO[str], server: int) -> None:
    """Run one job in the forked child, then exit."""
    exit_code = 1
    try:
        os.setsid()
        if sys.platform == "linux":
            end_at_hangup(os.open(f"/proc/self/fd/{server}", os.O_RDONLY))  # who is killed belongs to the open file

        def send(message: dict[str, Any]) -> None:
            messages.write(json.dumps(message) + "\n")
            messages.flush()

        send({"pid": os.getpid()})
        exit_code = 0 if run_job(predictor, folder, send) else 1
    except BaseException:
        logger.exception("a scoring process has failed")
    finally:
        with contextlib.suppress(OSError):
            messages.flush()
        os._exit(exit_code)


def run_job(predictor: Predictor, folder: Path, send: MessageHandler) -> bool:
    """Run the job in a folder within its limits; send its result, or one sentence that says why it failed.

    Returns:
        Whether the job succeeded.
    """
    job = ScoringJob.read(folder)
    try:
        limit_resources(job.limits, job.threads)
        score(predictor, folder, job, send)
        send({"result": "done"})
        return True
    except CrnetError as error:
        if isinstance(error, StorageError):
            logger.error("cannot store a result: %s", error.reason)
        send({"error": public_message(error)})
    except MemoryError:
        send({"error": f"{OUT_OF_MEMORY} ({OUT_OF_MEMORY_REMEDY})"})
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            logger.error("cannot store a result: %s", error.strerror)
            send({"error": NO_SPACE})
        elif any(sign in str(error) for sign in MEMORY_SIGNS):
            send({"error": f"{OUT_OF_MEMORY} ({OUT_OF_MEMORY_REMEDY})"})
        else:
            logger.exception("unexpected error while scoring")
            send({"error": BUG})
    return False


def public_message(error: CrnetError) -> str:
    """Return the text of an error without any path of this machine, and without what only the operator can do."""
    if isinstance(error, StorageError):
        return NO_SPACE
    if isinstance(error, NotScoredError):
        return f"{error.reason} ({NOT_SCORED_REMEDY})"
    if any(sign in error.reason for sign in MEMORY_SIGNS):
        return f"{OUT_OF_MEMORY} ({OUT_OF_MEMORY_REMEDY})"
    return error.reason if error.remedy is None else f"{error.reason} ({error.remedy})"


def score(predictor: Predictor, folder: Path, job: ScoringJob, send: MessageHandler) -> None:
    """Score the video of a job and write the files of the result to `OUT_FOLDER`.

    `send` gets the progress, and `SCORES_READY` once the files of the scores exist; those of the explanation follow.

    Raises:
        MediaError: The file is not a video, or the video is too long.
    """
    from crnet.explain.explain import explain_video
    from crnet.report.video_report import write_video_report

    predictor.networks.threads = job.threads
    out, progress = Path(OUT_FOLDER), ThrottledProgress(send)
    # Reports contain the path of their video; a relative path reveals nothing about this machine.
    video = Path(safe_file_name(job.name))
    os.chdir(folder)
    out.mkdir()
    Path(VIDEO_FILE).rename(video)
    _check_duration(video, job.limits, progress)
    transcript = _transcript_file(job.transcript)

    def publish(prediction: Prediction) -> None:
        _write_scores(replace(prediction, clip=job.name), out)
        send(SCORES_READY)

    if job.explain:
        explained = explain_video(
            predictor,
            video,
            transcript=transcript,
            target=OVERLAY_TARGET,
            allow_no_face=job.allow_no_face,
            progress=progress,
            on_scores=publish,
        )
        write_video_report(explained, video, predictor.bundle, out, progress)
    else:
        progress(READING, 0, 1)
        publish(predictor.predict(video, transcript, allow_no_face=job.allow_no_face))


def _write_scores(prediction: Prediction, out: Path) -> None:
    from crnet.report.prediction_csv import open_prediction_csv

    write_json(out / PREDICTION_JSON, prediction.to_dict())
    with open_prediction_csv(out / PREDICTION_CSV) as write:
        write(prediction)


def _check_duration(video: Path, limits: Limits, progress: ThrottledProgress) -> None:
    from crnet.media.video import probe

    progress(CHECKING, 0, 1)
    duration_s = probe(video).duration_s
    if duration_s > limits.max_duration_s:
        raise MediaError(
            f"the video is {math.ceil(10 * duration_s) / 10} s long; this server accepts at most "
            f"{limits.max_duration_s:g} s",
            remedy="shorten it",
        )
    progress(CHECKING, 1, 1, f"{duration_s:.1f} s of video")


def safe_file_name(name: str) -> str:
    """Return a visitor's name for a video as a file name that no program mistakes for an option, path or URL."""
    return "video_" + "".join(c if c.isascii() and c.isalnum() else "_" for c in Path(name).stem)[:MAX_NAME_LENGTH]


def _transcript_file(text: str) -> Path | None:
    """Write the transcript to a file, because a visitor's text may look like the name of a file on this machine.

    Returns:
        The file; None for an empty text: then speech recognition transcribes the video, if it is on.
    """
    if not text.strip():
        return None
    path = Path("transcript.srt" if "-->" in text else "transcript.txt")
    write_text(path, text)
    return path


def limit_resources(limits: Limits, threads: int) -> None:
    """Limit the CPU time and files of this process.

    The server watches its memory (`crnet.serve.worker_client`). A limit here (`RLIMIT_AS`) would count addresses that
    nobody uses, gigabytes of them with many threads, and FFmpeg would leave out the frames it finds no memory for.
    """
    if "torch" in sys.modules:
        _set_torch_threads(threads)
    cpu_s = int(limits.max_time_s * (threads + 1)) + 1
    maxima = {
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: MAX_OPEN_FILES,
        resource.RLIMIT_FSIZE: MAX_RESULT_BYTES,
    }
    for kind, value in maxima.items():
        _, hard = resource.getrlimit(kind)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


if __name__ == "__main__":
    main()
