"""`crnet explain`: where the scores of a video come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import DisallowNone, Positional

from crnet.cli.exit_codes import EXIT_DONE
from crnet.cli.options import (
    AllowNoFace,
    Asr,
    Command,
    DeviceOption,
    EncoderLocation,
    Flag,
    RunFolder,
    SplitOption,
    Transcript,
    option,
)
from crnet.cli.progress import progress_display
from crnet.cli.terminal import print_json, show_prediction
from crnet.utils.path_checks import on_disk


@dataclass(frozen=True)
class Explain(Command):
    """Explain a video's scores, or compute a split's key-point ratio.

    For a video, the command writes report.html with heat maps for every frame and target, the contributions of each
    stream and word, the parts of the sound that matter, and a timeline if the video is long. For a clip store, it
    computes the key-point ratio (Sec. 5.6 of the paper) over a split, together with its chance level.
    """

    urls = ("video_or_store",)

    run: RunFolder
    video_or_store: Annotated[
        Positional[Path], option("A video, or a clip store made by `crnet prepare`.", "VIDEO_OR_STORE")
    ]
    out: Annotated[
        Path | None, option("Folder for the explanation of a video; by default NAME-explained.", "FOLDER")
    ] = None
    transcript: Transcript = None
    asr: Asr = None
    encoder: EncoderLocation = None
    device: DeviceOption = "auto"
    allow_no_face: AllowNoFace = False
    target: Annotated[str, option("Target shown by the video overlay and the word colours.")] = "interview"
    layer: Annotated[
        Literal["layer1", "layer2", "layer3", "layer4"] | None,
        DisallowNone,
        option("Network stage for the heat maps; by default the last one with 7 or more cells a side."),
    ] = None
    window_s: Annotated[
        float | None,
        option(
            "Window length for a long video, in seconds; by default 15, or less if the training clips are shorter.",
            "SECONDS",
        ),
    ] = None
    stride_s: Annotated[
        float | None, option("Step from one window to the next; by default half a window.", "SECONDS")
    ] = None
    split: SplitOption = "test"
    json: Annotated[Flag, option("Print JSON on stdout: the explanation of a video, or the ratio of a store.")] = False

    def __call__(self) -> int:
        """Explain a video, or measure the key-point ratio of a store."""
        from crnet.data.manifest import MANIFEST_NAME

        if (self.video_or_store / MANIFEST_NAME).is_file():
            return self._explain_store()
        return self._explain_video()

    def _explain_video(self) -> int:
        import crnet
        from crnet.explain.explain import explain_video
        from crnet.report.video_report import write_video_report

        video = on_disk(self.video_or_store, "the video")
        system = crnet.load(self.run, self.device, encoder=self.encoder, asr=self.asr)
        with progress_display(self.quiet) as progress:
            explanation = explain_video(
                system,
                video,
                transcript=self.transcript,
                target=self.target,
                layer=self.layer,
                window_s=self.window_s,
                stride_s=self.stride_s,
                allow_no_face=self.allow_no_face,
                progress=progress,
            )
            folder = self.out or Path(f"{video.stem}-explained")
            report = write_video_report(explanation, video, system.bundle, folder, progress)
        if self.json:
            print_json(report.document)
            return EXIT_DONE
        show_prediction(explanation.prediction)
        print(f"report: {report.page}")
        return EXIT_DONE

    def _explain_store(self) -> int:
        """Measure the key-point ratio of Sec. 5.6."""
        from crnet.bundle.load import load_bundle
        from crnet.explain.key_points import PAPER_RATIO, key_point_ratio
        from crnet.utils.number_format import percent

        bundle = load_bundle(self.run)
        with progress_display(self.quiet) as progress:
            result = key_point_ratio(
                bundle, self.video_or_store, split=self.split, layer=self.layer, device=self.device, progress=progress
            )
        if self.json:
            print_json(result.to_dict())
            return EXIT_DONE
        print(
            f"{percent(result.ratio, 2)} of {result.points} key points ({result.frames} frames of {result.clips} "
            f"{self.split} clips) lie on the 30% most active pixels of {result.layer}.\n"
            f"For random points: {percent(result.chance, 0)}. For a disc of that size in the middle of the face crop: "
            f"{percent(result.centred_disc, 2)}. In the paper, on First Impressions v2: {percent(PAPER_RATIO, 2)}."
        )
        return EXIT_DONE
