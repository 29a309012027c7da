"""A client that openapi-python-client generates from the service's description scores a video."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crnet.demo import DemoResult
from crnet.types import TARGETS

if TYPE_CHECKING:
    from conftest import Served

GENERATOR = Path(sys.executable).with_name("openapi-python-client")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not GENERATOR.exists(), reason="openapi-python-client is not installed"),
]
SCRIPT = """
import json, sys, time
from io import BytesIO
from pathlib import Path
from client import Client
from client.api.jobs import create_job, delete_job, read_job
from client.api.results import read_result, read_result_file
from client.api.uploads import append_to_upload, create_upload
from client.models import NewUpload, Problem, UploadJob
from client.types import File

http, video = Client(sys.argv[1]), Path(sys.argv[2])
refused = create_upload.sync(client=http, body=NewUpload(name="large.mp4", size=1 << 39))
assert isinstance(refused, Problem) and (refused.status, refused.code) == (413, "too-large")
upload = create_upload.sync(client=http, body=NewUpload(name=video.name, size=video.stat().st_size))
upload = append_to_upload.sync(upload.id, client=http, body=File(BytesIO(video.read_bytes())), upload_offset=0)
assert upload.offset == upload.size
job = create_job.sync(client=http, body=UploadJob(upload=upload.id, transcript="Hello there", explain=False))
while job.state in ("queued", "running"):
    time.sleep(0.1)
    job = read_job.sync(job.id, client=http)
result = read_result.sync(job.id, client=http)
table = read_result_file.sync_detailed(job.id, "prediction.csv", client=http).content.decode()
assert delete_job.sync_detailed(job.id, client=http).status_code == 204
assert isinstance(read_job.sync(job.id, client=http), Problem)
print(json.dumps({"state": job.state, "result": result.to_dict(), "table": table}))
"""


def test_a_generated_client_scores_a_video(served: Served, demo: DemoResult, tmp_path: Path) -> None:
    with urllib.request.urlopen(f"{served.url}/openapi.json") as answer:
        (tmp_path / "openapi.json").write_bytes(answer.read())
    (tmp_path / "settings.yaml").write_text("post_hooks: []\n")  # it would format the code
    options = ["--path", "openapi.json", "--output-path", "client", "--meta", "none", "--config", "settings.yaml"]
    generate = [GENERATOR, "generate", *options, "--fail-on-warning"]
    subprocess.run(generate, cwd=tmp_path, check=True)
    command = [sys.executable, "-c", SCRIPT, served.url, str(demo.video)]
    done = json.loads(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout)
    assert done["state"] == "done"
    assert list(done["result"]["scores"]) == list(TARGETS)
    assert done["table"].startswith("clip,duration_s,") and demo.video.name in done["table"]
