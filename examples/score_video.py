"""Score a video with a server of `crnet serve`, with the standard library only.

python score_video.py http://127.0.0.1:7860 talk.mp4 --transcript "Hi, I am ..." --report report.html
"""

import argparse
import json
import time
import urllib.error
import urllib.request
from pathlib import Path

CHUNK_BYTES = 8 << 20


def main() -> None:
    """Send the video, wait for its scores, print them, and delete the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", help="address of the server")
    parser.add_argument("video", type=Path, help="video of one person who talks to the camera")
    parser.add_argument("--transcript", default="", help="the spoken words")
    parser.add_argument("--report", type=Path, help="also explain the scores, and write the report to this file")
    parser.add_argument("--key", default="", help="API key, if the server needs one")
    options = parser.parse_args()

    def call(method: str, path: str, body: bytes | dict[str, object] | None = None, **headers: str) -> bytes:
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        headers["Content-Type"] = "application/json" if isinstance(body, dict) else "application/octet-stream"
        headers |= {"Authorization": f"Bearer {options.key}"} if options.key else {}
        request = urllib.request.Request(options.server.rstrip("/") + path, data, headers, method=method)
        while True:
            try:
                with urllib.request.urlopen(request) as answer:
                    return bytes(answer.read())
            except urllib.error.HTTPError as error:
                if error.code not in (429, 503):
                    raise SystemExit(f"status {error.code}: {error.read().decode()}") from None
                time.sleep(int(error.headers.get("Retry-After", 10)))  # the server is busy

    video = options.video.read_bytes()
    upload = json.loads(call("POST", "/v1/uploads", {"name": options.video.name, "size": len(video)}))["id"]
    for start in range(0, len(video), CHUNK_BYTES):
        call("PATCH", f"/v1/uploads/{upload}", video[start : start + CHUNK_BYTES], **{"Upload-Offset": str(start)})
    new = {"upload": upload, "transcript": options.transcript, "explain": options.report is not None}
    job = json.loads(call("POST", "/v1/jobs", new))
    try:
        while job["state"] in ("queued", "running"):
            time.sleep(1)
            job = json.loads(call("GET", f"/v1/jobs/{job['id']}"))
        if job["state"] != "done":
            raise SystemExit(job["error"] or job["state"])
        print(json.dumps(json.loads(call("GET", f"/v1/jobs/{job['id']}/result")), indent=2))
        if options.report is not None:
            options.report.write_bytes(call("GET", f"/v1/jobs/{job['id']}/files/report.html"))
    finally:  # also after Ctrl-C
        call("DELETE", f"/v1/jobs/{job['id']}")


if __name__ == "__main__":
    main()
