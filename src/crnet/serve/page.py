"""The page: what stands where, and what happens on a click."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import api

from crnet.serve import render
from crnet.serve.job_queue import Desk, Request, Result, follow
from crnet.serve.render import Stages
from crnet.serve.worker_client import ScoringError
from crnet.text.base import LONGEST_TEXT_CHARACTERS

TITLE = "crnet: first impressions from a video"
SYSTEM_FONTS = ["system-ui", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif"]
MONOSPACE_FONTS = ["ui-monospace", "Menlo", "Consolas", "monospace"]
NO_VIDEO = "there is no video yet (drop one, or record one)"

ON_LOAD = """() => {
  for (const status of document.querySelectorAll('.crnet-live')) {
    status.setAttribute('role', 'status');
    status.setAttribute('aria-live', 'polite');
  }
}"""
"""Screen readers announce what changes in a region only if the region was there before."""

File = dict[str, Any] | None


def make_page(desk: Desk, facts: dict[str, Any]) -> tuple[gr.Blocks, dict[str, Any]]:
    """The page, and how it looks: the arguments with which Gradio mounts it."""
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.HTML(render.intro(facts, desk.limits), padding=False)
        with gr.Tabs():
            with gr.Tab("One video"):
                _one_video(desk)
            with gr.Tab("Compare two"):
                _two_videos(desk)
            with gr.Tab("From code"):
                gr.HTML(render.guide(desk.limits), padding=False)
        api(_endpoint(desk), api_name="score", concurrency_limit=None)
    page.queue(default_concurrency_limit=None)
    # Gradio's own grey for hints is too pale to read.
    theme = gr.themes.Default(primary_hue="orange", font=SYSTEM_FONTS, font_mono=MONOSPACE_FONTS).set(
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
    css = (Path(__file__).with_name("style.css")).read_text(encoding="utf-8")
    return page, {"theme": theme, "css": css, "js": ON_LOAD}


def _video(label: str) -> gr.Video:
    return gr.Video(
        label=label,
        sources=["upload", "webcam"],
        include_audio=True,
        height=340,
        elem_classes="crnet-video",
        buttons=[],
    )


def _transcript(label: str, listens: bool) -> gr.Textbox:
    heard = " Left empty, speech recognition listens, and may be wrong." if listens else ""
    return gr.Textbox(
        label=label,
        info=f"Optional. Type or paste it; SRT and WebVTT subtitles will do.{heard}",
        lines=4,
        max_lines=12,
        max_length=4 * LONGEST_TEXT_CHARACTERS,
    )


def _switches() -> tuple[gr.Checkbox, gr.Checkbox]:
    return (
        gr.Checkbox(True, label="Explain the scores", info="Heat maps, contributions and a report. Takes longer."),
        gr.Checkbox(
            False,
            label="Keep the video for another try",
            info="To score it again with other words. Otherwise it is deleted as soon as it is scored.",
        ),
    )


def _one_video(desk: Desk) -> None:
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            video = _video("Video of one person talking to the camera")
            transcript = _transcript("What is said", desk.facts["listens"])
            explain, keep = _switches()
            with gr.Row():
                start = gr.Button("Score this video", variant="primary")
                stop = gr.Button("Stop")
        with gr.Column(scale=3, min_width=300):
            status = gr.HTML(elem_id="status", elem_classes="crnet-live", padding=False)
            result = gr.HTML(elem_id="result", padding=False)

    async def score_one(video: File, transcript: str, explain: bool, keep: bool) -> AsyncIterator[tuple[Any, ...]]:
        stages = Stages()
        yield render.status([stages]), "", gr.skip()
        async for finished in _run(desk, stages, video, transcript, explain, keep):
            shown = "" if finished is None else render.result(finished)
            yield render.status([stages]), shown, gr.skip()
        yield gr.skip(), gr.skip(), gr.skip() if keep else None

    click = start.click(score_one, [video, transcript, explain, keep], [status, result, video], **_ON_CLICK)
    stop.click(lambda: "<p>Stopped.</p>", None, status, cancels=[click], api_visibility="private")


def _two_videos(desk: Desk) -> None:
    videos, transcripts = [], []
    with gr.Row():
        for side in ("First", "Second"):
            with gr.Column(min_width=300):
                videos.append(_video(f"{side} video"))
                transcripts.append(_transcript(f"What is said in the {side.lower()} video", desk.facts["listens"]))
    explain, keep = _switches()
    with gr.Row():
        start = gr.Button("Compare", variant="primary")
        stop = gr.Button("Stop")
    status = gr.HTML(elem_id="status-two", elem_classes="crnet-live", padding=False)
    result = gr.HTML(elem_id="result-two", padding=False)

    async def compare(
        left: File, right: File, left_says: str, right_says: str, explain: bool, keep: bool
    ) -> AsyncIterator[tuple[Any, ...]]:
        both = [Stages(of="First video"), Stages(of="Second video")]
        results: list[Result] = []
        yield render.status(both), "", gr.skip(), gr.skip()
        for stages, video, words in zip(both, (left, right), (left_says, right_says), strict=True):
            async for finished in _run(desk, stages, video, words, explain, keep):
                if finished is not None:
                    results.append(finished)
                yield render.status(both), gr.skip(), gr.skip(), gr.skip()
        shown = render.comparison(*results) if len(results) == 2 else ""
        cleared = gr.skip() if keep else None
        yield gr.skip(), shown, cleared, cleared

    click = start.click(compare, [*videos, *transcripts, explain, keep], [status, result, *videos], **_ON_CLICK)
    stop.click(lambda: "<p>Stopped.</p>", None, status, cancels=[click], api_visibility="private")


_ON_CLICK: dict[str, Any] = {
    "preprocess": False,  # nothing of Gradio touches the file
    "show_progress": "hidden",  # the status says more
    "concurrency_limit": None,  # the desk keeps the queue
    "api_visibility": "private",
    "trigger_mode": "once",
}


async def _run(
    desk: Desk, stages: Stages, video: File, transcript: str, explain: bool, keep: bool
) -> AsyncIterator[Result | None]:
    """Score one video, keep its stages up to date, and yield whenever there is something new to show."""
    try:
        request = _request(video, transcript, explain=explain, keep=keep)
        async for told in follow(desk, request):
            if isinstance(told, Result):
                stages.finish()
                yield told
            else:
                stages.hear(told)
                yield None
    except ScoringError as error:
        stages.error = str(error)
        yield None


def _request(video: File, transcript: str, *, explain: bool, keep: bool) -> Request:
    """What a client sent as a request; it may be anything.

    Raises:
        ScoringError: It is none.
    """
    if not isinstance(video, dict) or not isinstance(video.get("path"), str):
        raise ScoringError(NO_VIDEO)
    name = video.get("orig_name")
    return Request(
        upload=video["path"],
        name=name if isinstance(name, str) else "video",
        transcript=transcript if isinstance(transcript, str) else "",
        explain=explain is True,
        keep_upload=keep is True,
    )


def _endpoint(desk: Desk) -> Callable[..., Any]:
    async def score(video: dict[str, Any], transcript: str = "", explain: bool = False) -> dict[str, Any]:
        """Score one video.

        The answer is what `crnet predict --json` prints, and `files`: where the files of the result are for a while.
        """
        try:
            async for told in follow(desk, _request(video, transcript, explain=explain, keep=False)):
                if isinstance(told, Result):
                    return {**told.prediction, "files": {name: told.url(name) for name in told.files}}
        except ScoringError as error:
            raise gr.Error(str(error), print_exception=False) from None
        raise gr.Error("the server is shutting down", print_exception=False)

    return score
