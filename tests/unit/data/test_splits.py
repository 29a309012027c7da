"""Split protocols: groups stay together, sizes are right, and the order of the clips does not matter."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crnet.data.manifest import ClipRow, Manifest
from crnet.data.splits import (
    OFFICIAL,
    SplitProtocol,
    assign_splits,
    clip_clusters,
    overlap_with_other_splits,
    source_video,
    training_fingerprint,
)
from crnet.errors import LabelError, UsageError
from crnet.types import SPLITS, Split

SCORES = (0.5,) * 6


def row(clip_id: str, split: Split | None = "train", person: str | None = None, scored: bool = True) -> ClipRow:
    return ClipRow(clip_id, f"clips/{clip_id}", split, SCORES if scored else None, person=person)


def manifest(rows: Sequence[ClipRow]) -> Manifest:
    return Manifest(tuple(rows), "folder", {}, "f", "e")


def release(videos: int = 100, clips_each: int = 5) -> Manifest:
    """Five clips of each video, spread over the splits 3:1:1 as in First Impressions."""
    splits: tuple[Split, ...] = ("train", "train", "train", "val", "test")
    return manifest(
        [row(f"v{i:03d}.{j:03d}.mp4", splits[j], f"p{i // 2}") for i in range(videos) for j in range(clips_each)]
    )


def splits_by(assigned: Manifest, group_name: Callable[[ClipRow], str]) -> dict[str, set[Split | None]]:
    splits: dict[str, set[Split | None]] = defaultdict(set)
    for clip in assigned.clips:
        splits[group_name(clip)].add(clip.split)
    return splits


@pytest.mark.parametrize(
    ("text", "protocol"),
    [
        ("official", OFFICIAL),
        ("video-disjoint", SplitProtocol("video-disjoint")),
        ("identity-disjoint", SplitProtocol("identity-disjoint")),
        ("grouped-kfold:5", SplitProtocol("grouped-kfold", 5)),
        ("grouped-kfold:5:2", SplitProtocol("grouped-kfold", 5, 2)),
    ],
)
def test_a_protocol_is_parsed_from_its_text(text: str, protocol: SplitProtocol) -> None:
    assert SplitProtocol.parse(text) == protocol
    assert str(protocol) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "unknown protocol"),
        ("random", "unknown protocol"),
        ("official:3", "unknown protocol"),
        ("grouped-kfold", "unknown protocol"),
        ("grouped-kfold:", "unknown protocol"),
        ("grouped-kfold:-3", "unknown protocol"),
        ("grouped-kfold:five", "unknown protocol"),
        ("grouped-kfold:5:1:1", "unknown protocol"),
        ("grouped-kfold:٣", "unknown protocol"),
        ("grouped-kfold:2", "number of folds: 2 "),
        ("grouped-kfold:101", "number of folds: 101 "),
        ("grouped-kfold:5:0", "no fold 0"),
        ("grouped-kfold:5:6", "no fold 6"),
    ],
)
def test_other_text_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        SplitProtocol.parse(text)


def test_official_changes_nothing() -> None:
    whole = release()
    assert assign_splits(whole, OFFICIAL) is whole


@pytest.mark.parametrize(
    ("kind", "group_name"), [("video-disjoint", source_video), ("identity-disjoint", lambda clip: str(clip.person))]
)
def test_disjoint_splits_keep_groups_together_and_official_sizes(
    kind: str, group_name: Callable[[ClipRow], str]
) -> None:
    whole = release()
    assert max(len(splits) for splits in splits_by(whole, group_name).values()) == 3
    assigned = assign_splits(whole, SplitProtocol.parse(kind))
    assert {len(splits) for splits in splits_by(assigned, group_name).values()} == {1}
    sizes = Counter(clip.split for clip in assigned.clips)
    assert [sizes[split] for split in SPLITS] == pytest.approx([300, 100, 100], abs=10)  # two videos or one person
    assert {clip.clip_id for clip in assigned.clips} == {clip.clip_id for clip in whole.clips}


def test_each_clip_tests_in_one_fold_and_validates_in_another() -> None:
    protocols = SplitProtocol.parse("grouped-kfold:5").single_folds
    assert [str(protocol) for protocol in protocols] == [f"grouped-kfold:5:{fold}" for fold in range(1, 6)]
    folds = [assign_splits(release(), protocol) for protocol in protocols]
    for split, times in (("test", 1), ("val", 1), ("train", 3)):
        counts = Counter(clip.clip_id for fold in folds for clip in fold.rows(split))  # type: ignore[arg-type]
        assert set(counts.values()) == {times} and len(counts) == 500
    for fold in folds:
        assert {len(splits) for splits in splits_by(fold, lambda clip: str(clip.person)).values()} == {1}
        assert len(fold.rows("test")) == pytest.approx(100, abs=10)


def test_a_dataset_without_splits_has_folds_and_default_shares() -> None:
    loose = manifest([row(f"v{i:03d}.{j:03d}.mp4", None) for i in range(50) for j in range(4)])
    fold = assign_splits(loose, SplitProtocol.parse("grouped-kfold:4:3"))
    assert [len(fold.rows(split)) for split in SPLITS] == pytest.approx([100, 50, 50], abs=4)
    assigned = assign_splits(loose, SplitProtocol.parse("video-disjoint"))
    assert [len(assigned.rows(split)) for split in SPLITS] == pytest.approx([120, 40, 40], abs=4)


def test_clips_linked_through_other_clips_are_in_one_fold() -> None:
    rows = [row("a.000.mp4", person="x"), row("b.000.mp4", person="x"), row("b.001.mp4", person="y"), row("b.002.mp4")]
    rows += [row(f"c{i}.000.mp4") for i in range(8)]
    folds = [assign_splits(manifest(rows), part) for part in SplitProtocol.parse("grouped-kfold:3").single_folds]
    linked = {"a.000.mp4", "b.000.mp4", "b.001.mp4", "b.002.mp4"}
    for fold in folds:
        assert len({clip.split for clip in fold.clips if clip.clip_id in linked}) == 1


def test_clips_without_scores_belong_to_no_split() -> None:
    rows = [row(f"v{i // 2}.{i % 2:03d}.mp4") for i in range(20)] + [row("v0.002.mp4", "test", scored=False)]
    assigned = assign_splits(manifest(rows), SplitProtocol.parse("video-disjoint"))
    assert [clip.split for clip in assigned.clips if clip.clip_id == "v0.002.mp4"] == [None]


@pytest.mark.parametrize(
    ("text", "rows", "reason"),
    [
        ("identity-disjoint", [row("a.000.mp4", person="x"), row("b.000.mp4")], "1 of 2 clips name no person.*b.000"),
        ("video-disjoint", [row("a.000.mp4"), row("a.001.mp4"), row("b.000.mp4")], "too few videos or persons: 2"),
        ("grouped-kfold:3:1", [row("a.000.mp4"), row("a.001.mp4")], "too few videos or persons: 1"),
        ("grouped-kfold:5:1", [row(f"v{i}.000.mp4") for i in range(4)], "too few videos or persons: 4"),
        ("video-disjoint", [row("a.000.mp4", scored=False)], "too few videos or persons: 0"),
        ("video-disjoint", [row(f"interview_{i}.mp4") for i in range(9)], "no two clips come from one video"),
    ],
)
def test_too_few_videos_or_persons_are_refused(text: str, rows: list[ClipRow], reason: str) -> None:
    with pytest.raises(LabelError, match=reason):
        assign_splits(manifest(rows), SplitProtocol.parse(text))


def test_a_grouped_kfold_needs_a_fold() -> None:
    with pytest.raises(UsageError, match="name one fold, such as grouped-kfold:5:1"):
        assign_splits(release(), SplitProtocol.parse("grouped-kfold:5"))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.one_of(st.none(), st.integers(0, 6))), min_size=12, max_size=60),
    st.sampled_from(["video-disjoint", "grouped-kfold:3:2"]),
)
def test_no_video_is_divided_and_the_order_of_clips_does_not_matter(
    clips: list[tuple[int, int | None]], text: str
) -> None:
    rows = [
        row(f"v{video:02d}.{number:03d}.mp4", SPLITS[number % 3], None if person is None else f"p{person}")
        for number, (video, person) in enumerate(clips)
    ]
    protocol = SplitProtocol.parse(text)
    try:
        assigned = assign_splits(manifest(rows), protocol)
    except LabelError as error:
        assert "too few" in str(error) or len({video for video, _ in clips}) == len(clips)
        return
    assert {len(splits) for splits in splits_by(assigned, source_video).values()} == {1}
    again = assign_splits(manifest(rows[::-1]), protocol)
    assert {clip.clip_id: clip.split for clip in again.clips} == {clip.clip_id: clip.split for clip in assigned.clips}


def test_the_fingerprint_covers_training_and_validation_clips() -> None:
    whole = release(videos=4)
    fingerprint = training_fingerprint(whole)
    assert training_fingerprint(manifest(whole.clips[::-1])) == fingerprint
    without_test = manifest([clip for clip in whole.clips if clip.split != "test"])
    assert training_fingerprint(without_test) == fingerprint
    others = [
        manifest([clip for clip in whole.clips if clip.clip_id != "v000.000.mp4"]),  # one training clip fewer
        manifest([clip for clip in whole.clips if clip.split != "val"]),
        assign_splits(release(), SplitProtocol.parse("video-disjoint")),
        manifest([replace(clip, split="val") if clip.clip_id == "v000.000.mp4" else clip for clip in whole.clips]),
    ]
    assert fingerprint not in {training_fingerprint(other) for other in others}


def overlap_in_test(rows: Sequence[ClipRow]) -> dict[str, set[str]]:
    """The test clips that share their video, or their person, with a clip of another split."""
    clips = [row.clip_id for row in manifest(rows).rows("test") if row.scores]
    masks = overlap_with_other_splits(manifest(rows), "test")
    return {grouping: {clip for clip, is_shared in zip(clips, mask, strict=True) if is_shared}
            for grouping, mask in masks.items()}  # fmt: skip


def test_clips_that_share_their_video_or_person_with_another_split() -> None:
    rows = [
        row("a.000.mp4", "train", "x"),
        row("a.001.mp4", "test", "x"),
        row("b.000.mp4", "test", "x"),
        row("c.000.mp4", "test", "y"),
        row("c.001.mp4", "val", "y"),
        row("d.000.mp4", "test", "z"),
    ]
    assert overlap_in_test(rows) == {
        "video": {"a.001.mp4", "c.000.mp4"},
        "person": {"a.001.mp4", "b.000.mp4", "c.000.mp4"},
    }
    assert overlap_in_test([*rows, row("e.000.mp4")]).keys() == {"video"}
    assert overlap_in_test([row("a.000.mp4", "test", "x"), row("b.000.mp4", "train", "x")]) == {
        "video": set(),
        "person": {"a.000.mp4"},
    }
    assert overlap_in_test([]) == {"video": set()}
    unlabelled = row("a.002.mp4", "test", "x", scored=False)
    assert overlap_in_test([*rows, unlabelled]) == overlap_in_test(rows)


def test_clusters_are_persons_where_they_are_known_and_videos_otherwise() -> None:
    clips = ["v.000", "v.001", "w.000"]
    kind, clusters = clip_clusters(clips, ["p", "q", "q"])
    assert (kind, clusters.tolist()) == ("person", [0, 1, 1])
    kind, clusters = clip_clusters(clips, ["p", "", "q"])  # the other clip of the video is of p
    assert (kind, clusters.tolist()) == ("person", [0, 0, 1])
    kind, clusters = clip_clusters([*clips, "x.000", "p.000"], ["p", "q", "q", "", ""])
    assert (kind, clusters.tolist()) == ("person", [0, 1, 1, 2, 3])
    for unknown in (["", "", ""], None, []):
        kind, clusters = clip_clusters(clips, unknown)
        assert (kind, clusters.tolist()) == ("source video", [0, 0, 1])
