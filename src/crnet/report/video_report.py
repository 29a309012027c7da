"""The files that explain one video: what `crnet explain RUN VIDEO` writes.

report.html              everything on one page
explanation.json         the numbers
scene_maps.png           feature maps (Sec. 5.6) of every frame, one sheet for each visual stream
face_maps.png
gradcam_<target>.png     Grad-CAM of every frame of both visual streams, one sheet for each target
overlay.mp4              the video under Grad-CAM
sound.png                the waveform, its words, and the effect of each moment on each score
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crnet.bundle.bundle import Bundle
from crnet.explain.explain import VideoExplanation
from crnet.report.figure_style import png
from crnet.report.overlay_video import heat_panels, write_overlay_video
from crnet.report.page_templates import REPORT_FILE
from crnet.report.pictures import png_bytes
from crnet.report.sound_figure import sound_figure
from crnet.report.video_page import PageMedia, render_video_page
from crnet.report.video_pictures import contact_sheets, page_strips
from crnet.utils.files import write_bytes, write_json, write_text
from crnet.utils.progress import Progress, no_progress

EXPLANATION_FILE = "explanation.json"
OVERLAY_FILE = "overlay.mp4"
SOUND_FILE = "sound.png"
LARGEST_EMBEDDED_VIDEO_BYTES = 6 << 20  # a larger overlay video stays outside the page
PICTURES_TASK, REPORT_TASK = "pictures", "report"


@dataclass(frozen=True, eq=False)
class VideoReport:
    """The files of a video report.

    Attributes:
        page: The HTML page.
        files: Everything else, by name.
        document: The content of `explanation.json`.
    """

    page: Path
    files: dict[str, Path]
    document: dict[str, Any]


def write_video_report(
    explanation: VideoExplanation,
    video: Path | str,
    bundle: Bundle,
    out: Path | str,
    progress: Progress = no_progress,
) -> VideoReport:
    """Write the pictures, the overlay video, the numbers and the page of an explanation.

    Args:
        explanation: The explanation.
        video: The video that it explains.
        bundle: The system that scored it.
        out: A folder; files of earlier reports in it are overwritten.
        progress: Called after every step.

    Raises:
        MediaError: The video cannot be read.
        StorageError: The folder cannot be written.
    """
    out = Path(out)
    contents = _pictures(explanation, progress)
    for name, content in contents.items():
        write_bytes(out / name, content)
    names = [*contents, EXPLANATION_FILE]
    if explanation.frames.maps:
        panels = heat_panels(explanation.frames, explanation.target)
        write_overlay_video(out / OVERLAY_FILE, video, panels, progress)
        names.append(OVERLAY_FILE)
    progress(REPORT_TASK, 0, 1)
    document = {**explanation.to_dict(), "files": sorted(names)}
    write_json(out / EXPLANATION_FILE, document)
    media = PageMedia(page_strips(explanation.frames), contents.get(SOUND_FILE), _embedded_video(out, names))
    write_text(out / REPORT_FILE, render_video_page(explanation, bundle, media, sorted(names)))
    progress(REPORT_TASK, 1, 1)
    return VideoReport(out / REPORT_FILE, {name: out / name for name in names}, document)


def _pictures(explanation: VideoExplanation, progress: Progress) -> dict[str, bytes]:
    """Return every PNG file by name."""
    progress(PICTURES_TASK, 0, 1)
    contents = {name: png_bytes(sheet) for name, sheet in contact_sheets(explanation.frames).items()}
    if len(explanation.audio):
        contents[SOUND_FILE] = png(sound_figure(explanation.audio, explanation.words, explanation.sound))
    progress(PICTURES_TASK, 1, 1)
    return contents


def _embedded_video(out: Path, names: list[str]) -> bytes | None:
    """Return the overlay video if there is one and it is small enough for the page."""
    path = out / OVERLAY_FILE
    if OVERLAY_FILE not in names or path.stat().st_size > LARGEST_EMBEDDED_VIDEO_BYTES:
        return None
    return path.read_bytes()
