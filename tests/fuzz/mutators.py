"""Damage the bytes of a file, whatever its format. All randomness comes from the generator."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable

import numpy as np

Rng = np.random.Generator
Mutator = Callable[[bytes, Rng], bytes]

EXTREMES = (0, 1, -1, 0x7F, 0x80, 0x7FFF, 0x8000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**63, 2**64 - 1)
MOST_FLIPS = 24
LONGEST_RUN = 256
PIECES = 12
HEAD_BYTES = 512  # where most formats keep what they are
AT_HEAD = 0.3  # share of damage that is placed there


def _place(content: bytes, rng: Rng) -> int:
    """Return an offset, more often than by chance near the start."""
    end = min(HEAD_BYTES, len(content)) if rng.random() < AT_HEAD else len(content)
    return int(rng.integers(max(end, 1)))


def _chunk(content: bytes, rng: Rng) -> tuple[int, int]:
    """Return start and end of a piece of up to a fifth of the content."""
    start = _place(content, rng)
    return start, start + int(rng.integers(1, max(len(content) // 5, 2)))


def flip_bits(content: bytes, rng: Rng) -> bytes:
    """Flip up to `MOST_FLIPS` bits."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, MOST_FLIPS))):
        changed[_place(content, rng)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def overwrite(content: bytes, rng: Rng) -> bytes:
    """Replace a run of bytes by zeros, by ones or by noise."""
    start, length = _place(content, rng), int(rng.integers(1, LONGEST_RUN))
    run = (bytes(length), b"\xff" * length, rng.bytes(length))[int(rng.integers(3))]
    return content[:start] + run[: len(content) - start] + content[start + length :]


def set_integers(content: bytes, rng: Rng) -> bytes:
    """Write an extreme number over a few places, as an integer of 1 to 8 bytes in either order."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        size, order = ((1, "B"), (2, "H"), (4, "I"), (8, "Q"))[int(rng.integers(4))]
        number = int(EXTREMES[int(rng.integers(len(EXTREMES)))]) % 2 ** (8 * size)
        start = _place(content, rng)
        packed = struct.pack("<>"[int(rng.integers(2))] + order, number)
        changed[start : start + size] = packed[: len(content) - start]
    return bytes(changed)


def delete_chunk(content: bytes, rng: Rng) -> bytes:
    """Leave out a piece."""
    start, end = _chunk(content, rng)
    return content[:start] + content[end:]


def repeat_chunk(content: bytes, rng: Rng) -> bytes:
    """Repeat a piece."""
    start, end = _chunk(content, rng)
    return content[:end] + content[start:end] * int(rng.integers(1, 4)) + content[end:]


def shuffle_chunks(content: bytes, rng: Rng) -> bytes:
    """Cut the content into pieces and change their order."""
    cuts = [0, *sorted(rng.integers(0, len(content) + 1, PIECES - 1).tolist()), len(content)]
    pieces = [content[start:end] for start, end in itertools.pairwise(cuts)]
    return b"".join(pieces[i] for i in rng.permutation(PIECES))


def truncate(content: bytes, rng: Rng) -> bytes:
    """Keep the beginning, or only the end."""
    cut = _place(content, rng)
    return content[:cut] if rng.random() < 0.8 else content[cut:]


def splice(content: bytes, other: bytes, rng: Rng) -> bytes:
    """Join the beginning of one file to the end of another, or put a piece of the other into it."""
    cut = _place(content, rng)
    if rng.random() < 0.5:
        return content[:cut] + other[_place(other, rng) :]
    start, end = _chunk(other, rng)
    return content[:cut] + other[start:end] + content[cut:]


MUTATORS: tuple[Mutator, ...] = (
    flip_bits, overwrite, set_integers, delete_chunk, repeat_chunk, shuffle_chunks, truncate
)  # fmt: skip
WEIGHTS = np.array([5, 3, 5, 2, 2, 1, 2]) / 20  # damage to a few bytes gets farther into a reader than a torn file


def mutate_bytes(content: bytes, other: bytes, rng: Rng) -> tuple[bytes, str]:
    """Damage a file in one to three ways; return the new content and the names of the ways."""
    names = []
    for _ in range(int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1]))):
        if rng.random() < 0.08:
            content, name = splice(content, other, rng), "splice"
        else:
            mutator = MUTATORS[int(rng.choice(len(MUTATORS), p=WEIGHTS))]
            content, name = mutator(content or b"\0", rng), mutator.__name__
        names.append(name)
    return content, "+".join(names)
