"""Fake worker client without a system."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from crnet.serve.progress import SCORES_READY, MessageHandler
from crnet.serve.worker import OUT_FOLDER, VIDEO_FILE, ScoringJob
from crnet.serve.worker_client import ScoringError
from crnet.types import STREAMS, TARGETS


def prediction(name: str, *, intervals: bool = True, warnings: tuple[str, ...] = ("no transcript",)) -> dict[str, Any]:
    """Return a document that `crnet predict --json` could print."""
    scores = {target: 0.3 + 0.1 * number for number, target in enumerate(TARGETS)}
    return {
        "clip": name,
        "duration_s": 3.0,
        "scores": scores,
        "streams": dict.fromkeys(STREAMS, scores),
        "intervals": {target: [score - 0.1, score + 0.1] for target, score in scores.items()} if intervals else None,
        "faces": {"found": 7, "looked_at": 8},
        "warnings": list(warnings),
        "error": None,
    }


EXPLANATION = {
    "contributions": {target: {"base": 0.5, **dict(zip(STREAMS, (-0.2, 0.05, 0.0), strict=True))} for target in TARGETS}
}


class FakeWorkerClient:
    """Scores a video at once and explains it in `seconds`; fails for content that begins with "bad"."""

    def __init__(self, seconds: float = 0.0, *, recognises_speech: bool = False, heat_maps: bool = True) -> None:
        self.system_info = {
            "training_source": "simulated",
            "recognises_speech": recognises_speech,
            "heat_maps": heat_maps,
        }
        self.seconds = seconds
        self.jobs: list[ScoringJob] = []
        self.running = 0
        self.cancelled = 0

    async def score(self, folder: Path, job: ScoringJob, on_progress: MessageHandler) -> None:
        """See `crnet.serve.worker_client.WorkerClient.score`."""
        assert self.running == 0, "a worker scores one video at a time"
        self.running += 1
        self.jobs.append(job)
        try:
            on_progress({"task": "scoring", "done": 0, "total": 1, "note": ""})
            if (folder / VIDEO_FILE).read_bytes().startswith(b"bad"):
                raise ScoringError("not a video", remedy="try another")
            out = folder / OUT_FOLDER
            out.mkdir()
            (out / "prediction.json").write_text(json.dumps(prediction(job.name)))
            on_progress(SCORES_READY)
            on_progress({"task": "heat maps", "done": 1, "total": 2, "note": ""})
            await asyncio.sleep(self.seconds)
            if job.explain:
                (out / "explanation.json").write_text(json.dumps(EXPLANATION))
                (out / "report.html").write_text("<script>alert(1)</script>")
                (out / "gradcam_interview.png").write_bytes(b"png")
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
