"""Layout of the page, and the handlers of its buttons."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import Dependency, api

from crnet.serve import render
from crnet.serve.job_queue import JobQueue, ScoringRequest, ScoringResult, score_with_progress
from crnet.serve.render import JobProgress
from crnet.serve.worker_client import ScoringError
from crnet.text.encoder_interface import LONGEST_TEXT_CHARACTERS

TITLE = "crnet: first impressions from a video"
SYSTEM_FONTS = ["system-ui", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif"]
MONOSPACE_FONTS = ["ui-monospace", "Menlo", "Consolas", "monospace"]
NO_VIDEO = "no video yet (upload or record one)"
STOPPED = "<p>Stopped.</p>"

ON_LOAD = """() => {
  for (const status of document.querySelectorAll('.crnet-live')) {
    status.setAttribute('role', 'status');
    status.setAttribute('aria-live', 'polite');
  }
}"""
"""Marks the status as a live region: screen readers announce only changes in a region that was there before."""

File = dict[str, Any] | None


def make_page(job_queue: JobQueue) -> tuple[gr.Blocks, dict[str, Any]]:
    """Build the page and its appearance: the arguments with which Gradio mounts it."""
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.HTML(render.intro(job_queue.system_info, job_queue.limits), padding=False)
        with gr.Tabs():
            with gr.Tab("One video"):
                _one_video_tab(job_queue)
            with gr.Tab("Compare two"):
                _two_videos_tab(job_queue)
            with gr.Tab("API"):
                gr.HTML(render.api_guide(job_queue.limits), padding=False)
        api(_score_endpoint(job_queue), api_name="score", concurrency_limit=None)
    page.queue(default_concurrency_limit=None)
    css = (Path(__file__).with_name("style.css")).read_text(encoding="utf-8")
    return page, {"theme": _theme(), "css": css, "js": ON_LOAD}


def _theme() -> gr.themes.Base:
    """Return Gradio's theme with darker hints: its own grey is too pale to read."""
    return gr.themes.Default(primary_hue="orange", font=SYSTEM_FONTS, font_mono=MONOSPACE_FONTS).set(
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        button_primary_background_fill="#a84300",
        button_primary_background_fill_hover="#8a3700",
        button_primary_background_fill_dark="#a84300",
        button_primary_background_fill_hover_dark="#c25510",
    )


def _video_input(label: str) -> gr.Video:
    return gr.Video(
        label=label,
        sources=["upload", "webcam"],
        include_audio=True,
        height=340,
        elem_classes="crnet-video",
        buttons=[],
    )


def _transcript_input(label: str, recognises_speech: bool) -> gr.Textbox:
    asr = (
        "  If you leave this empty, the video is transcribed by speech recognition, which can make mistakes."
        if recognises_speech
        else ""
    )
    return gr.Textbox(
        label=label,
        info=f"Optional. Type or paste it; SRT and WebVTT subtitles work too.{asr}",
        lines=4,
        max_lines=12,
        max_length=4 * LONGEST_TEXT_CHARACTERS,
    )


def _options() -> tuple[gr.Checkbox, gr.Checkbox]:
    return (
        gr.Checkbox(True, label="Explain the scores", info="Adds heat maps, contributions and a report. Takes longer."),
        gr.Checkbox(
            False,
            label="Keep the video so I can score it again",
            info="For example with another transcript. Otherwise it is deleted as soon as it has been scored.",
        ),
    )


def _one_video_tab(job_queue: JobQueue) -> None:
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            video = _video_input("Video of one person talking to the camera")
            transcript = _transcript_input("Transcript", job_queue.system_info["recognises_speech"])
            explain, keep = _options()
            with gr.Row():
                start = gr.Button("Score this video", variant="primary")
                stop = gr.Button("Stop")
        with gr.Column(scale=3, min_width=300):
            status = gr.HTML(elem_id="status", elem_classes="crnet-live", padding=False)
            result = gr.HTML(elem_id="result", padding=False)

    async def score_one(video: File, transcript: str, explain: bool, keep: bool) -> AsyncIterator[tuple[Any, ...]]:
        progress = JobProgress()
        yield render.status([progress]), "", gr.skip()
        async for scored in _score(job_queue, progress, video, transcript, explain, keep):
            result_html = "" if scored is None else render.result(scored)
            yield render.status([progress]), result_html, gr.skip()
        yield gr.skip(), gr.skip(), gr.skip() if keep else None

    click = start.click(score_one, [video, transcript, explain, keep], [status, result, video], **_CLICK_OPTIONS)
    _stop_on_click(stop, click, status)


def _two_videos_tab(job_queue: JobQueue) -> None:
    videos, transcripts = [], []
    with gr.Row():
        for side in ("First", "Second"):
            with gr.Column(min_width=300):
                videos.append(_video_input(f"{side} video"))
                label = f"Transcript of the {side.lower()} video"
                transcripts.append(_transcript_input(label, job_queue.system_info["recognises_speech"]))
    explain, keep = _options()
    with gr.Row():
        start = gr.Button("Compare", variant="primary")
        stop = gr.Button("Stop")
    status = gr.HTML(elem_id="status-two", elem_classes="crnet-live", padding=False)
    result = gr.HTML(elem_id="result-two", padding=False)

    async def compare(
        left: File, right: File, left_text: str, right_text: str, explain: bool, keep: bool
    ) -> AsyncIterator[tuple[Any, ...]]:
        jobs = [JobProgress(title="First video"), JobProgress(title="Second video")]
        results: list[ScoringResult] = []
        yield render.status(jobs), "", gr.skip(), gr.skip()
        for progress, video, transcript in zip(jobs, (left, right), (left_text, right_text), strict=True):
            async for scored in _score(job_queue, progress, video, transcript, explain, keep):
                if scored is not None:
                    results.append(scored)
                yield render.status(jobs), gr.skip(), gr.skip(), gr.skip()
        result_html = render.comparison(*results) if len(results) == 2 else ""
        cleared = gr.skip() if keep else None
        yield gr.skip(), result_html, cleared, cleared

    click = start.click(compare, [*videos, *transcripts, explain, keep], [status, result, *videos], **_CLICK_OPTIONS)
    _stop_on_click(stop, click, status)


def _stop_on_click(button: gr.Button, work: Dependency, status: gr.HTML) -> None:
    """Let a button stop the work, and say so after the last message of the work has arrived."""
    stopped = button.click(None, cancels=[work], api_visibility="private")
    stopped.then(lambda: STOPPED, None, status, api_visibility="private")


_CLICK_OPTIONS: dict[str, Any] = {
    "preprocess": False,  # Gradio does not touch the file
    "show_progress": "hidden",  # the status gives more detail
    "concurrency_limit": None,  # the job queue limits concurrency
    "api_visibility": "private",
    "trigger_mode": "once",
}


async def _score(
    job_queue: JobQueue, progress: JobProgress, video: File, transcript: str, explain: bool, keep: bool
) -> AsyncIterator[ScoringResult | None]:
    """Score one video and update its progress; yield the result, or None after each update."""
    try:
        request = _request(video, transcript, explain=explain, keep=keep)
        async for message in score_with_progress(job_queue, request):
            if isinstance(message, ScoringResult):
                progress.finish()
                yield message
            else:
                progress.update(message)
                yield None
    except ScoringError as error:
        progress.error = str(error)
        yield None


def _request(video: File, transcript: str, *, explain: bool, keep: bool) -> ScoringRequest:
    """Validate a client's data, which may be anything, and return it as a request.

    Raises:
        ScoringError: There is no video.
    """
    if not isinstance(video, dict) or not isinstance(video.get("path"), str):
        raise ScoringError(NO_VIDEO)
    name = video.get("orig_name")
    return ScoringRequest(
        upload=video["path"],
        name=name if isinstance(name, str) else "video",
        transcript=transcript if isinstance(transcript, str) else "",
        explain=explain is True,
        keep_upload=keep is True,
    )


def _score_endpoint(job_queue: JobQueue) -> Callable[..., Any]:
    async def score(video: dict[str, Any], transcript: str = "", explain: bool = False) -> dict[str, Any]:
        """Score one video.

        The answer is the document that `crnet predict --json` prints, plus `files`: the temporary addresses of the
        files of the result.
        """
        try:
            request = _request(video, transcript, explain=explain, keep=False)
            async for message in score_with_progress(job_queue, request):
                if isinstance(message, ScoringResult):
                    return {**message.prediction, "files": {name: message.url(name) for name in message.files}}
        except ScoringError as error:
            raise gr.Error(str(error), print_exception=False) from None
        raise gr.Error("the server is shutting down", print_exception=False)

    return score
