"""Run the campaigns at full size: `python -m tests.fuzz --media 2000 --files 500 --kills 100 --seed 0 --out DIR`.

Results go to DIR, one JSON document per line and case. The same command again continues where it stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from crnet.utils.executors import WorkerDied, run_jobs
from crnet.utils.job_limits import JobLimits
from tests.fuzz.files import FileJob, run_file_job
from tests.fuzz.kills import KillResult, Schedule, run_kills
from tests.fuzz.measure import FAULT, CaseResult
from tests.fuzz.media import MediaJob, run_media_job

DIED = "died"
LIMITS: JobLimits[Any] = JobLimits(lambda job: 60.0, 1024)  # seconds and MB of a case


def main() -> int:
    """Run the campaigns and print their summary."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--media", type=int, default=0, help="number of damaged media files")
    parser.add_argument("--files", type=int, default=0, help="number of damaged bundles, stores, labels and the like")
    parser.add_argument("--kills", type=int, default=0, help="number of killed commands")
    parser.add_argument("--seed", type=int, default=0, help="seed of all campaigns")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    out = options.out.resolve()
    for name, run, make_job, count in (
        ("files", run_file_job, FileJob, options.files),
        ("media", run_media_job, MediaJob, options.media),
    ):
        done = {row["number"] for row in _read(out / f"{name}.jsonl")}
        jobs = [make_job(number, options.seed, out / "work") for number in range(count) if number not in done]
        _record(out / f"{name}.jsonl", count, _cases(run, jobs))
    _record(out / "kills.jsonl", options.kills, _kills(out, options.seed, options.kills))
    summary = {name: _summary(_read(out / f"{name}.jsonl")) for name in ("files", "media", "kills")}
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(json.dumps(summary, indent=2))
    return 1 if any(part.get("faults") for part in summary.values()) else 0


def _cases(run: Callable[[Any], CaseResult], jobs: Iterable[Any]) -> Iterator[CaseResult]:
    """Run jobs in a worker process, as `crnet prepare` does. A case that ends the process has a row that says why."""
    for job, result in run_jobs(run, jobs, 1, limits=LIMITS):
        if isinstance(result, WorkerDied):
            yield CaseResult(job.number, "unknown", "", DIED, ": ".join(result.explain("reading it")), 0.0, 0.0)
        else:
            yield result


def _kills(out: Path, seed: int, count: int) -> Iterator[KillResult]:
    return run_kills(Schedule(count, seed), out / "kills", done={row["number"] for row in _read(out / "kills.jsonl")})


def _record(path: Path, count: int, results: Iterable[Any]) -> None:
    """Append each result to a file as soon as it is known."""
    with path.open("a", encoding="utf-8") as file:
        for number, result in enumerate(results, start=1):
            file.write(json.dumps(asdict(result)) + "\n")
            file.flush()
            if number % 20 == 0:
                print(f"{path.stem}: {number} of {count}", file=sys.stderr)


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    if not rows:
        return {"cases": 0}
    if "command" in rows[0]:
        faults = [row for row in rows if row["faults"]]
        by_command = Counter(row["command"] for row in rows)
        late = sum(row["finished"] for row in rows)
        return {"cases": len(rows), "by command": by_command, "ended before the kill": late, "faults": faults}
    slowest = max(rows, key=lambda row: row["seconds"])
    largest = max(rows, key=lambda row: row["peak_mb"])
    return {
        "cases": len(rows),
        "outcomes": Counter(row["outcome"] for row in rows),
        "by kind": {
            kind: Counter(row["outcome"] for row in rows if row["kind"] == kind)
            for kind in sorted({row["kind"] for row in rows})
        },
        "slowest": {key: slowest[key] for key in ("number", "kind", "damage", "seconds")},
        "most memory": {key: largest[key] for key in ("number", "kind", "damage", "peak_mb")},
        "faults": [row for row in rows if row["outcome"] in (FAULT, DIED)],
    }


if __name__ == "__main__":
    sys.exit(main())
