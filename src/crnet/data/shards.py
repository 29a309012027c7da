"""Shards: tar files of many clip files, for storage that dislikes small files.

A shard follows the naming of WebDataset (https://github.com/webdataset/webdataset): `shards/train-000000.tar` holds
`KEY.safetensors` and `KEY.json` (name, split, scores, person, groups, transcript) for each clip. crnet itself reads a
clip file in place, at the position that the manifest names, and never unpacks a shard or trusts a name in it; what it
finds there must be a clip file of exactly that length with the name of that clip.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from crnet.data.byte_source import open_bytes, part_name
from crnet.data.clip_row import ClipRow
from crnet.data.store import ClipFile, clip_path
from crnet.errors import FormatError
from crnet.utils.files import atomic_write, read_json, write_json
from crnet.utils.parallel_requests import map_files
from crnet.utils.resumable import list_fingerprint

SHARDS_FOLDER = "shards"


def shard_name(split: str | None, number: int) -> str:
    """Return the path of a shard in a store."""
    return f"{SHARDS_FOLDER}/{split or 'none'}-{number:06}.tar"


def write_shard(store: Path, name: str, clips: Sequence[tuple[Path, ClipRow]]) -> None:
    """Write a shard, unless an earlier call wrote it from the same clips. Equal clips give equal bytes.

    Args:
        store: The store to write.
        name: Path of the shard in it.
        clips: The clip file and the row of each clip, in the order of the shard.

    Raises:
        FormatError: A clip file is damaged.
        StorageError: The disk is full or the folder cannot be written.
    """
    # One clip file is open at a time: a shard may hold more than a process may open.
    folders = {path.parent for path, _ in clips}
    described = map_files(lambda clip: [_labels(clip[1]), ClipFile(clip[0], clip[1].clip_id).metadata], clips, *folders)
    made_from = list_fingerprint(described)
    if not _is_finished(store, name, made_from, len(clips)):
        positions = _write_tar(store / name, clips)
        index = {"made_from": made_from, "bytes": (store / name).stat().st_size, "clips": positions}
        write_json(_index_path(store, name), index)


def files_in_shard(store: Path, name: str) -> list[str]:
    """Return the `ClipRow.file` of each clip of a finished shard.

    Raises:
        FormatError: Its index is damaged.
    """
    positions = _read_index(store, name)[1]
    return [f"{SHARDS_FOLDER}/{part_name(PurePosixPath(name).name, start, size)}" for start, size in positions]


def _index_path(store: Path, name: str) -> Path:
    return store / PurePosixPath(name).with_suffix(".json").as_posix()


def _is_finished(store: Path, name: str, made_from: str, count: int) -> bool:
    if not _index_path(store, name).is_file() or not (store / name).is_file():
        return False
    index, positions = _read_index(store, name)
    size = (store / name).stat().st_size
    return (index["made_from"], index["bytes"], len(positions)) == (made_from, size, count)


def _read_index(store: Path, name: str) -> tuple[dict[str, Any], list[tuple[int, int]]]:
    path = _index_path(store, name)
    index = read_json(path, "the index of a shard")
    try:
        positions = [(int(start), int(size)) for start, size in index["clips"]]
        return {"made_from": index["made_from"], "bytes": index["bytes"]}, positions
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError("not the index of a shard", path=path, remedy="delete it and run again") from error


def _write_tar(path: Path, clips: Sequence[tuple[Path, ClipRow]]) -> list[tuple[int, int]]:
    positions = []
    with atomic_write(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        contents = map_files(_read_checked, clips, *{source.parent for source, _ in clips})
        for (_, row), content in zip(clips, contents, strict=True):
            # WebDataset ends the key at the first point.
            key = PurePosixPath(clip_path(row.clip_id)).stem.replace(".", "_")
            positions.append((_add(tar, f"{key}.safetensors", content), len(content)))
            _add(tar, f"{key}.json", json.dumps(_labels(row), sort_keys=True, ensure_ascii=False).encode())
    return positions


def _read_checked(clip: tuple[Path, ClipRow]) -> bytes:
    source, row = clip
    ClipFile(source, row.clip_id).check()
    return read_whole(source)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> int:
    """Add a member and return where its content begins."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
    return tar.offset - len(content) - (-len(content) % tarfile.BLOCKSIZE)


def read_whole(path: Path) -> bytes:
    """Return a clip file, also one in a shard."""
    source = open_bytes(path)
    return source.read(0, source.size)


def _labels(row: ClipRow) -> dict[str, Any]:
    names = ("clip_id", "split", "scores", "person", "groups", "transcript")
    return {name: dict(value) if name == "groups" else value for name in names for value in [getattr(row, name)]}


def evenly(count: int, parts: int) -> Iterator[range]:
    """Yield ranges of similar length that divide `count` numbers."""
    for part in range(parts):
        yield range(part * count // parts, (part + 1) * count // parts)
