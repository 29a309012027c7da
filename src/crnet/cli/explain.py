"""`crnet explain`: where the scores of a video come from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from crnet.cli.exit_codes import EXIT_DONE
from crnet.cli.terminal import bars, print_json, show_prediction

if TYPE_CHECKING:
    from crnet.explain.heat_maps import Layer
    from crnet.types import Split


def explain(
    run: Path,
    what: Path,
    /,
    *,
    out: Path | None = None,
    transcript: str | None = None,
    asr: str | None = None,
    encoder: str | None = None,
    target: str = "interview",
    layer: Literal["layer1", "layer2", "layer3", "layer4"] | None = None,
    window_s: float | None = None,
    stride_s: float | None = None,
    split: Literal["train", "val", "test"] = "test",
    json: bool = False,
) -> int:
    """Explain the scores of a video, or look how often the face's key points are where the network looks.

    Of a video: heat maps for every frame and target, what each stream and each word brought, which moments of the sound
    count, a time line of a long video, and report.html with all of it. Of a clip store: the key-point ratio of the
    paper's Sec. 5.6 over a split, with chance level.

    Args:
        run: A run that `crnet train` finished, or its bundle.
        what: A video, or a store made by `crnet prepare`.
        out: Folder for what is made of a video; by default NAME-explained.
        transcript: What is said, or a .txt, .srt or .vtt file of it. Without it, such a file beside the video is used.
        asr: Speech recognition for a video without a transcript: name or folder of a model for faster-whisper.
        encoder: Where the system's text encoder is now, such as skip-thoughts:FOLDER, if not where it was in training.
        target: Whose heat map lies over the film, and whose colour on the words.
        layer: Stage of the networks to read maps from; by default the latest with 7 or more cells a side.
        window_s: Length of a long video's windows; by default 15 s, or the training clips' length if shorter.
        stride_s: From one window to the next; by default half a window.
        split: Which clips of a store.
        json: Print JSON: explanation.json of a video, the figures of a store.
    """
    from crnet.data.manifest import MANIFEST_NAME

    if (what / MANIFEST_NAME).is_file():
        return _explain_store(run, what, split, layer, json)
    import crnet
    from crnet.explain.explain import explain_video
    from crnet.report.video_report import write_video_report

    folder = out or Path(f"{what.stem}-explained")
    system = crnet.load(run, encoder=encoder, asr=asr)
    with bars() as progress:
        explanation = explain_video(
            system,
            what,
            transcript=transcript,
            target=target,
            layer=layer,
            window_s=window_s,
            stride_s=stride_s,
            progress=progress,
        )
        report = write_video_report(explanation, what, system.bundle, folder, progress)
    if json:
        print_json(report.document)
        return EXIT_DONE
    show_prediction(explanation.prediction)
    print(f"a page to look at: {report.page}")
    return EXIT_DONE


def _explain_store(run: Path, store: Path, split: Split, layer: Layer | None, json: bool) -> int:
    """The key-point ratio of Sec. 5.6."""
    from crnet.bundle.bundle import load_bundle
    from crnet.explain.key_points import PAPER_RATIO, key_point_ratio

    bundle = load_bundle(run)
    with bars() as progress:
        found = key_point_ratio(bundle, store, split=split, layer=layer, progress=progress)
    if json:
        print_json(found.to_dict())
        return EXIT_DONE
    print(
        f"{100 * found.ratio:.2f}% of {found.points} key points ({found.frames} frames of {found.clips} {split} clips) "
        f"lie on the 30% most active pixels of {found.layer}.\n"
        f"Points thrown anywhere: {100 * found.chance:.0f}%. A disc of that size in the middle of the face crop: "
        f"{100 * found.centred_disc:.2f}%. The paper, on First Impressions v2: {100 * PAPER_RATIO:.2f}%."
    )
    return EXIT_DONE
