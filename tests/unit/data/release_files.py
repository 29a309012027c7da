"""Make files like those of the official release: Python 2 pickles, nested zips, encrypted zips."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from crnet.data.sources.archive_keys import Key
from crnet.types import TARGETS

RELEASE_ORDER = ("extraversion", "neuroticism", "agreeableness", "conscientiousness", "interview", "openness")


def text(value: str) -> bytes:
    """Pickle a `str` as Python 2 did: SHORT_BINSTRING or BINSTRING."""
    raw = value.encode("utf-8")
    return b"U" + bytes([len(raw)]) + raw if len(raw) < 256 else b"T" + struct.pack("<I", len(raw)) + raw


def dictionary(items: Mapping[str, bytes]) -> bytes:
    """Pickle a dictionary of pickled values: EMPTY_DICT and SETITEMS."""
    return b"}(" + b"".join(text(name) + value for name, value in items.items()) + b"u"


class Python2Numbers:
    """Pickles numpy.float64 values as cPickle of Python 2 did with protocol 2, with one dtype for all."""

    def __init__(self, module: bytes = b"numpy.core.multiarray") -> None:
        self.module = module
        self.has_dtype = False

    def number(self, value: float) -> bytes:
        dtype = b"h\x02"  # BINGET
        if not self.has_dtype:
            state = b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"
            dtype = b"cnumpy\ndtype\nU\x02f8K\x00K\x01\x87Rq\x02" + state + b"b"
            self.has_dtype = True
        return b"c" + self.module + b"\nscalar\n" + dtype + b"U\x08" + struct.pack("<d", value) + b"\x86q\x03R"


def annotation(scores: Mapping[str, tuple[float, ...]], targets: tuple[str, ...] = RELEASE_ORDER) -> bytes:
    """Make an annotation pickle; `scores` by clip in the order of `TARGETS`; those of interview are numpy.float64."""
    numbers = Python2Numbers()
    columns = {}
    for target in targets:
        index = TARGETS.index(target)
        columns[target] = dictionary(
            {
                clip: numbers.number(values[index])
                if target == "interview"
                else b"G" + struct.pack(">d", values[index])
                for clip, values in scores.items()
            }
        )
    return b"\x80\x02" + dictionary(columns) + b"."


def transcription(texts: Mapping[str, str]) -> bytes:
    """Make a transcription pickle."""
    return b"\x80\x02" + dictionary({clip: text(transcript) for clip, transcript in texts.items()}) + b"."


class Keys:
    """A `KeyLookup`: the key of an archive by its own name or the name of one around it. Records what was requested."""

    def __init__(self, keys: Mapping[str, str] | None = None) -> None:
        self.keys = keys or {}
        self.requested: list[tuple[str, ...]] = []

    def __call__(self, names: Sequence[str]) -> Key | None:
        self.requested.append(tuple(names))
        return next((Key(self.keys[name], f"for {name}") for name in names if name in self.keys), None)


def zipped(contents: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Make a zip archive in memory."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in contents.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return file.getvalue()


def encrypted(contents: Mapping[str, bytes], key: str, *, descriptors: bool = False) -> bytes:
    """Make a zip archive whose members are stored and encrypted with ZipCrypto (PKWARE's APPNOTE, section 6.1).

    `descriptors` adds a data descriptor after each member, as Info-ZIP's `zip -P` does (section 4.3.9).
    """
    body, directory = b"", b""
    flags = 9 if descriptors else 1
    for name, content in contents.items():
        raw_name, crc = name.encode(), zlib.crc32(content)
        check = 0 if descriptors else crc >> 24  # with a descriptor, the high byte of the time of day: midnight
        data = _encrypt(bytes(11) + bytes([check]) + content, os.fsencode(key))
        common = struct.pack("<HHHHHIIIHH", 20, flags, 0, 0, 33, crc, len(data), len(content), len(raw_name), 0)
        directory += (
            b"PK\x01\x02" + struct.pack("<H", 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, len(body)) + raw_name
        )
        body += b"PK\x03\x04" + common + raw_name + data
        if descriptors:
            body += b"PK\x07\x08" + struct.pack("<III", crc, len(data), len(content))
    count = len(contents)
    return body + directory + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(body), 0)


def _encrypt(plain: bytes, key: bytes) -> bytes:
    keys = [0x12345678, 0x23456789, 0x34567890]

    def crc_step(crc: int, byte: int) -> int:
        return ~zlib.crc32(bytes([byte]), ~crc & 0xFFFFFFFF) & 0xFFFFFFFF

    def update(byte: int) -> None:
        keys[0] = crc_step(keys[0], byte)
        keys[1] = ((keys[1] + (keys[0] & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
        keys[2] = crc_step(keys[2], keys[1] >> 24)

    for byte in key:
        update(byte)
    out = bytearray()
    for byte in plain:
        mask = (keys[2] | 2) & 0xFFFF
        out.append(byte ^ (((mask * (mask ^ 1)) >> 8) & 0xFF))
        update(byte)
    return bytes(out)


def write_release(
    root: Path, *, nested: bool = False, compression: int = zipfile.ZIP_STORED
) -> dict[str, tuple[float, ...]]:
    """Write a release of four clips, one of which has no annotation in the original either. Return the scores by clip.

    The files are unpacked by default; `nested` puts the training videos into nested zips, as the publishers do.
    """
    scores = {
        f"{name}.mp4": tuple(0.1 * i + 0.01 * k for k in range(6)) for i, name in enumerate(("aB-1.001", "aB-1.002"))
    }
    validation = {"c_D2.000.mp4": (0.7,) * 6}
    root.mkdir(parents=True, exist_ok=True)
    (root / "annotation_training.pkl").write_bytes(annotation(scores))
    (root / "annotation_validation.pkl").write_bytes(annotation(validation))
    transcripts = {"aB-1.001.mp4": "I’m here [you heard it all? 00:00:07] again", "aB-1.002.mp4": ""}
    (root / "transcription_training.pkl").write_bytes(transcription(transcripts))
    (root / "eth_gender_annotations_dev.csv").write_text(
        "VideoName;YouTubeID;Ethnicity;Gender\naB-1.001.mp4;aB-1;2;2\naB-1.002.mp4;aB-1;3;1\n"
    )
    training = {"aB-1.001.mp4": b"video one", "aB-1.002.mp4": b"video two", "xyWpSrfFlQw.004.mp4": b"video three"}
    if nested:
        inner = {"training80_01.zip": zipped(training, compression), "__MACOSX/._training80_01.zip": b"clutter"}
        (root / "train-1.zip").write_bytes(zipped(inner, compression))
    else:
        (root / "TRAIN").mkdir()
        for name, content in training.items():
            (root / "TRAIN" / name).write_bytes(content)
    (root / "val").mkdir()
    (root / "val" / "c_D2.000.mp4").write_bytes(b"video four")
    return {**scores, **validation}
