"""Tests of the security of the service: hosts, origins, keys, rates, headers, logs, malformed requests."""

from __future__ import annotations

import json
import logging
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from serve_client import HOST, Client, StartService, http_scope

from crnet.errors import ConfigError
from crnet.serve.access import Access, AccessPolicy, client_of, read_keys
from crnet.serve.log_format import JsonFormatter
from crnet.serve.problems import ServiceError

KEY = "0123456789abcdef"
ROUTES = (
    "/",
    "/compare",
    "/docs",
    "/static/page.js",
    "/static/panel.js",
    "/healthz",
    "/metrics",
    "/openapi.json",
    "/v1/jobs/0",
    "/nothing",
)


def new_policy(**changes: Any) -> AccessPolicy:
    return AccessPolicy(**changes)


@pytest.fixture
def keys(tmp_path: Path) -> tuple[bytes, ...]:
    (tmp_path / "keys").write_text(f"# for the night job\n{KEY}\n\n")
    return read_keys(tmp_path / "keys")


@pytest.mark.parametrize("path", ROUTES)
def test_every_answer_has_the_security_headers(http: Client, path: str) -> None:
    headers = http.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self';" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy and "data:" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


@pytest.mark.parametrize("path", ["/", "/compare", "/docs"])
def test_the_page_has_no_inline_script_or_style(http: Client, path: str) -> None:
    page = http.get(path).text
    assert page.count("<script") == page.count('<script src="/static/') == 1
    assert (
        "<style" not in page
        and " style=" not in page
        and " onclick=" not in page
        and "://" not in page.replace(HOST, "")
    )


@pytest.mark.parametrize(
    ("host", "allowed", "status"),
    [
        ("127.0.0.1:7860", (), 200),
        ("localhost", (), 200),
        ("[::1]:7860", (), 200),
        ("192.168.1.7:80", (), 200),
        ("evil.example", (), 421),  # a name that somebody made to resolve to this machine
        ("127.0.0.1.evil.example", (), 421),
        ("[::1%evil.example]", (), 421),
        ("[", (), 421),
        ("", (), 421),
        ("crnet.example.org", ("crnet.example.org",), 200),
        ("evil.example", ("crnet.example.org",), 421),
        ("a.hf.space", ("*.hf.space",), 200),
        ("evilhf.space", ("*.hf.space",), 421),
        ("any.example", ("*",), 200),
        ("FACES.example.org", ("Faces.Example.org",), 200),  # names are the same in capitals
        ("a.hf.space.", ("*.HF.space.",), 200),
    ],
)
def test_a_request_for_another_host_is_refused(
    start_service: StartService, host: str, allowed: tuple[str, ...], status: int
) -> None:
    http = start_service(policy=new_policy(allowed_hosts=allowed))
    assert http.get("/", headers={"Host": host}).status_code == status


def test_a_health_check_needs_no_host(http: Client) -> None:
    """HAProxy sends none, and other containers send the name of a container."""
    for host in ("", "crnet:7860"):
        assert http.get("/healthz", headers={"Host": host}).json() == {"status": "ok"}
        assert http.get("/healthz/", headers={"Host": host}).status_code == 421


def test_every_address_answers_head_as_it_answers_get(http: Client) -> None:
    for path in ("/", "/healthz", "/openapi.json", "/nothing"):
        got, head = http.get(path), http.head(path)
        assert (head.status_code, head.headers["content-type"]) == (got.status_code, got.headers["content-type"])
        assert head.content == b""


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "",
        "http://127.0.0.1:1",
        "http://127.0.0.1.evil.example",
        "http://[",
        "127.0.0.1",
    ],
)
def test_pages_of_other_sites_cannot_send_requests(http: Client, origin: str) -> None:
    job_id = http.submit()
    for method, path in (
        ("POST", "/v1/uploads"),
        ("POST", f"/v1/jobs/{job_id}/cancel"),
        ("DELETE", f"/v1/jobs/{job_id}"),
    ):
        refused = http.request(method, path, headers={"Origin": origin}, json={"name": "a", "size": 1})
        assert (refused.status_code, refused.json()["code"]) == (403, "origin-not-allowed")
    assert http.post("/v1/uploads", headers={"Origin": HOST}, json={"name": "a", "size": 1}).status_code == 201


def test_the_operator_can_allow_another_site(start_service: StartService) -> None:
    site = "https://app.example"
    http = start_service(policy=new_policy(allowed_origins=(site,), frame_ancestors=(site,)))
    created = http.post("/v1/uploads", headers={"Origin": site}, json={"name": "a", "size": 1})
    assert (created.status_code, created.headers["access-control-allow-origin"]) == (201, site)
    assert created.headers["access-control-expose-headers"] == "Location, Retry-After"
    assert f"frame-ancestors {site}" in http.get("/").headers["content-security-policy"]
    refused = http.post("/v1/uploads", headers={"Origin": "https://evil.example"}, json={"name": "a", "size": 1})
    assert refused.status_code == 403


def test_with_keys_every_request_needs_one(start_service: StartService, keys: tuple[bytes, ...]) -> None:
    http = start_service(policy=new_policy(keys=keys))
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": KEY}, {"Cookie": "crnet_session=a.b"}):
        for path in ("/v1/jobs/0", "/fragments/jobs/0/scores", "/metrics"):
            refused = http.get(path, headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (401, "key-required")
            assert refused.headers["www-authenticate"] == "Bearer"
    known = {"Authorization": f"Bearer {KEY}"}
    assert http.post("/v1/uploads", headers=known, json={"name": "a", "size": 1}).status_code == 201
    assert http.get("/healthz").status_code == 200
    assert KEY not in http.get("/docs", headers=known).text


def test_the_page_asks_for_the_key_once(start_service: StartService, keys: tuple[bytes, ...]) -> None:
    http = start_service(policy=new_policy(keys=keys))
    assert "This server needs a key" in http.get("/").text
    assert http.post("/session", json={"key": "wrong"}).status_code == 401
    session = http.post("/session", json={"key": KEY})
    cookie = session.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and KEY not in cookie
    assert "Score this video" in http.get("/").text
    assert http.post("/v1/uploads", json={"name": "a", "size": 1}).status_code == 201
    http.cookies.clear()
    forged = "crnet_session=" + "0" * 32 + "." + "0" * 64
    assert "This server needs a key" in http.get("/", headers={"Cookie": forged}).text


def test_a_page_in_a_frame_of_another_site_gets_a_session(start_service: StartService, keys: tuple[bytes, ...]) -> None:
    """Browsers send no cookie with `SameSite=Strict` from there, and store one with `None` only over HTTPS."""
    http = start_service(policy=new_policy(keys=keys, frame_ancestors=("https://example.org",)))

    def attributes(origin: str) -> set[str]:
        headers = {"Origin": origin}  # a proxy in front speaks HTTPS; the server does not know
        session = http.post("/session", json={"key": KEY}, headers=headers)
        return set(session.headers["set-cookie"].lower().split("; ")[1:])

    assert attributes(HOST) == {"httponly", "path=/", "samesite=strict"}
    assert attributes(HOST.replace("http:", "https:")) == {
        "httponly",
        "path=/",
        "samesite=none",
        "partitioned",
        "secure",
    }


def test_a_negative_rate_limit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"the rate limit is -3 \(choose 0"):
        new_policy(rate_limit=-3)


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff\xfe" * 20, b"# only a comment\n"])
def test_a_file_without_good_keys_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "keys").write_bytes(content)
    with pytest.raises(ConfigError, match="keys"):
        read_keys(tmp_path / "keys")


def test_a_client_that_sends_too_much_must_wait(start_service: StartService, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr("crnet.serve.access.time.monotonic", lambda: now_s)
    http = start_service(policy=new_policy(rate_limit=6))
    assert [http.get("/v1/jobs/0").status_code for _ in range(7)] == [404] * 6 + [429]
    refused = http.get("/v1/jobs/0")
    assert (refused.headers["retry-after"], refused.json()["code"]) == (
        "11",
        "too-many-requests",
    )  # 60 s / 6, rounded up
    assert http.get("/healthz").status_code == 200
    now_s = 10.1
    assert [http.get("/v1/jobs/0").status_code for _ in range(2)] == [404, 429]


def test_requests_without_a_good_key_count_too(start_service: StartService, keys: tuple[bytes, ...]) -> None:
    http = start_service(policy=new_policy(keys=keys, rate_limit=2))
    assert [http.get("/v1/jobs/0").status_code for _ in range(3)] == [401, 401, 429]
    assert http.post("/session", json={"key": "guess"}).status_code == 429


@pytest.mark.parametrize(
    ("proxies", "statuses"),
    [
        ((), [404, 429, 429]),  # anyone can write this header
        (("10.0.0.0/8",), [404, 404, 429]),
        (("192.168.0.0/16",), [404, 429, 429]),
    ],
)
def test_only_the_operators_proxies_name_the_client(
    start_service: StartService, proxies: tuple[str, ...], statuses: list[int]
) -> None:
    http = start_service(policy=new_policy(rate_limit=1, trusted_proxies=proxies), client=("10.1.2.3", 50_000))
    seen = [
        http.get("/v1/jobs/0", headers={"X-Forwarded-For": client}).status_code
        for client in ("1.1.1.1", "2.2.2.2", "9.9.9.9, 2.2.2.2")  # the client wrote the first, the proxy the last
    ]
    assert seen == statuses


def test_too_many_requests_at_a_time_are_refused_but_the_health_check_is_answered(
    http: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crnet.serve.middleware.MAX_REQUESTS", 0)
    refused = http.get("/")
    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (503, "busy", "10")
    assert http.get("/healthz").status_code == 200
    monkeypatch.setattr("crnet.serve.middleware.MAX_REQUESTS", 1)
    assert [http.get("/").status_code for _ in range(3)] == [200] * 3  # one after the other


def test_addresses_that_one_client_may_have_count_together() -> None:
    access = Access(new_policy(rate_limit=1))
    for client in ("2001:db8:1:2::1", "2001:db8:1:3::1", "10.0.0.1", "10.0.0.2", "::ffff:10.0.0.3", "::ffff:10.0.0.4"):
        access.check_rate(client_of({"client": (client, 1)}))
    for client in ("2001:db8:1:2:ffff::9", "10.0.0.1", "::ffff:10.0.0.3"):
        with pytest.raises(ServiceError, match="requests in a minute"):
            access.check_rate(client_of({"client": (client, 1)}))


def test_a_proxy_that_is_no_address_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"proxy\.example is not an address"):
        new_policy(trusted_proxies=("proxy.example",))


@pytest.mark.parametrize(
    "changes",
    [
        {"allowed_hosts": ("https://faces.example.org",)},
        {"allowed_hosts": ("faces.example.org:7860",)},
        {"allowed_origins": ("https://example.org/",)},  # browsers send it without the slash
        {"allowed_origins": ("https://Example.org",)},  # and in lower case
        {"allowed_origins": ("example.org",)},
        {"allowed_origins": ("https://*.example.org",)},  # only --frame-ancestor takes all of a domain
        {"frame_ancestors": ("https://example.org; script-src *",)},
    ],
)
def test_what_no_request_could_match_is_refused_at_the_start(changes: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(ConfigError, match=r"is not (a name|an origin)") as refused:
        new_policy(**changes)
    assert refused.value.remedy is not None
    new_policy(allowed_hosts=("a-b.example.org", "*"), allowed_origins=("http://[::1]:80", "https://a.example:8443"))
    new_policy(frame_ancestors=("https://*.example.org",))


def test_thousands_of_unknown_fields_get_one_short_error(http: Client) -> None:
    for document in ({f"field{number}": 1 for number in range(5_000)}, {"x" * 100_000: 1}):
        refused = http.post("/v1/jobs", json=document)
        assert (refused.status_code, len(refused.content) < 2000) == (422, True)


def malformed_requests(count: int) -> list[tuple[str, str, dict[str, Any]]]:
    """Return requests that make no sense, always the same ones."""
    draw = random.Random(7)
    bodies = [
        b"",
        b"{",
        b"[" * 200_000,
        b"\xff",
        b"null",
        b"[]",
        b'"a"',
        b'{"size": 1e999}',
        b'{"size": NaN}',
        bytes(9),
    ]
    documents: list[Any] = [{}, {"size": -1}, {"name": "a", "size": "x"}, {"name": "\ud800", "size": 1}, {"upload": 7}]
    documents += [
        {"upload": "a", "path": "b"},
        {"path": "\0"},
        {"upload": "\x00"},
        {"transcript": "a" * 500_000},
        {"x": 1},
    ]
    bodies += [json.dumps(document).encode() for document in documents]
    names = ["0", "%00", "..%2f..%2fetc", "a" * 3000, "\N{SNOWMAN}", "%ff", "'\"<script>", "../../etc/passwd"]
    paths = ["/v1/uploads", "/v1/jobs", "/session", "/v1/uploads/{}", "/v1/jobs/{}", "/v1/jobs/{}/events", "/{}"]
    paths += [
        "/v1/jobs/{}/result",
        "/v1/jobs/{}/files/{}",
        "/fragments/jobs/{}/scores",
        "/static/{}",
        "/v1/jobs/{}/cancel",
    ]
    kinds = ["application/json", "multipart/form-data; boundary=x", "application/octet-stream", "x", ""]
    offsets = ["-1", "x", "1" * 400, "0", "1e3"]
    strange: list[tuple[str, str | bytes]] = [
        ("Origin", "http://["),
        ("Host", "["),
        ("Cookie", 'crnet_session="\\'),
        ("Authorization", "Bearer"),
    ]
    strange += [("Range", "bytes=9-1,x"), ("Accept", b"\xff"), ("X-Forwarded-For", "[:"), ("Content-Length", "x")]
    requests = []
    for _ in range(count):
        path = draw.choice(paths).replace("{}", draw.choice(names))
        headers: dict[str, str | bytes] = {"Content-Type": draw.choice(kinds), "Upload-Offset": draw.choice(offsets)}
        headers |= dict([draw.choice(strange)])
        more: dict[str, Any] = {"headers": headers, "content": draw.choice(bodies)}
        requests.append((draw.choice(["GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "BREW"]), path, more))
    return requests


def test_500_malformed_requests_are_refused_without_a_traceback(http: Client, caplog: pytest.LogCaptureFixture) -> None:
    upload = http.upload()
    with caplog.at_level(logging.WARNING):
        for method, path, more in malformed_requests(500):
            response = http.request(method, path, **more)
            assert 200 <= response.status_code < 500, (method, path, more)
            assert "Traceback" not in response.text and "site-packages" not in response.text
            if response.status_code >= 400 and method != "HEAD":
                assert response.headers["content-type"] == "application/problem+json", (method, path, response.text)
    assert not caplog.records
    assert http.get(f"/v1/uploads/{upload}").json()["offset"] == 5


def test_answers_contain_no_path_of_the_server(http: Client) -> None:
    job_id = http.submit(explain=True)
    http.wait(job_id)
    folder = str(http.service.job_queue.storage.folder)
    answers = [http.get(f"/v1/jobs/{job_id}{path}").text for path in ("", "/events", "/result", "/files/report.html")]
    answers += [http.get(f"/fragments/jobs/{job_id}/{part}").text for part in ("scores", "explanation")]
    answers += [http.post("/v1/uploads", json={"name": 1}).text, http.get("/metrics").text]
    for answer in answers:
        assert folder not in answer and str(Path(folder).parent) not in answer


def test_the_log_and_the_metrics_name_no_visitor_video_or_job(http: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "crnet.serve"):
        job_id = http.submit(name="anna-smith.mp4", transcript="my name is Anna Smith", explain=True)
        http.wait(job_id)
        http.wait(http.submit(b"bad", name="anna-smith.mp4"))
    lines = [JsonFormatter().format(record) for record in caplog.records]
    ends = [json.loads(line) for line in lines if "job ended" in line]
    assert [end["state"] for end in ends] == ["done", "failed"]
    metrics = http.get("/metrics").text
    assert 'crnet_jobs_total{state="done"} 1.0' in metrics
    assert 'crnet_job_seconds_count{until="scores"} 1.0' in metrics
    assert 'crnet_http_requests_total{method="POST",route="/v1/jobs",status="202"} 2.0' in metrics
    for text in (*lines, metrics):
        assert job_id not in text and "anna" not in text.lower() and "testclient" not in text


def test_an_unexpected_error_is_answered_without_its_text(http: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError("at /srv/secret")

    monkeypatch.setattr(http.service.job_queue, "get", fail)
    response = http.get("/v1/jobs/0")
    assert (response.status_code, response.json()["code"]) == (500, "internal-error")
    assert "secret" not in response.text
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-security-policy"].startswith("default-src 'none'")


def test_a_client_that_leaves_in_the_middle_of_a_chunk_is_no_error_of_the_server(
    http: Client, caplog: pytest.LogCaptureFixture
) -> None:
    upload = http.post("/v1/uploads", json={"name": "talk.mp4", "size": 9}).json()["id"]
    assert http.portal is not None
    messages = iter([{"type": "http.request", "body": b"vid", "more_body": True}, {"type": "http.disconnect"}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    with caplog.at_level(logging.WARNING):
        http.portal.call(http.app, http_scope("PATCH", f"/v1/uploads/{upload}"), receive, send)
    assert not caplog.records
    assert sent[0]["status"] == 400  # nobody reads it, but the metrics count it
    assert http.get(f"/v1/uploads/{upload}").json()["offset"] == 3  # the client may continue there


def test_the_log_is_one_json_document_per_line() -> None:
    secret = "an" + "na"  # a traceback contains the lines of the source
    try:
        try:
            raise KeyError(secret)
        except KeyError as cause:
            raise ZeroDivisionError(f"at\n{secret}") from cause
    except ZeroDivisionError:
        record = logging.getLogger("crnet.serve").makeRecord("", logging.ERROR, "", 0, "bug\n", (), sys.exc_info())
    line = JsonFormatter().format(record)
    assert "\n" not in line
    document = json.loads(line)
    assert (document["event"], document["level"]) == ("bug", "error")
    assert document["traceback"].count("Traceback") == 2 and document["traceback"].endswith("ZeroDivisionError")
    assert "KeyError" in document["traceback"] and "anna" not in line  # messages may repeat a visitor's words
