"""Find recordings that were joined in one file, and let each begin where the one before it ends.

Recordings that are copied one behind the other restart their time stamps. A program that copies such a file on cannot
store times that go back: it squeezes the time stamps of the later recording into one moment, until they have caught up.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf, isinf
from typing import TYPE_CHECKING

import numpy as np

from crnet.media.track import Shifts, Track

if TYPE_CHECKING:
    from jaxtyping import Float64, Int64

BROADCAST_FORMATS = frozenset({"mpegts", "mpeg"})
"""Formats whose clock may be set anew in the middle."""
LONGEST_PAUSE_S = 60.0  # in these, a longer time without any packet is a new clock
RESTART_S = 0.5  # a track that goes back by more than this has been restarted, even if the other one has a gap there
SQUEEZED_S = 0.0015  # time stamps that grow by less tell nothing; some containers count milliseconds
GAP_S = 0.25  # a longer time without packets is a gap in a track
LONGEST_REORDER_S = 5.0  # no frame is decoded this long before it is shown
MOST_APART = 500  # packets between the ends of the picture and of the sound of a recording
MOST_RECORDINGS = 1000
REORDERED = 20  # packets in which pictures that are shown in another order than decoded balance out
SAME_BREAK = 1 / 2  # largest difference between what the tracks lack at a join, as a share of the larger; or `GAP_S`


@dataclass(frozen=True)
class Break:
    """A place in a track where its time stamps lack more than jitter, or where its clock is set anew.

    Attributes:
        first: Number of the first packet behind it.
        order: Place of this packet in the file.
        lacking_s: How much shorter the time is by the stamps than by the packets' own lengths; infinite: a new clock.
        length_s: Own length of a packet.
        until: Number of the first packet behind it whose time stamp counts; later than `first` if stamps are squeezed,
            and None if they are to the end.
    """

    first: int
    order: int
    lacking_s: float
    length_s: float
    until: int | None

    @property
    def is_squeezed(self) -> bool:
        """Whether the time stamps behind it do not tell when the packets are presented."""
        return self.until != self.first

    @property
    def is_large(self) -> bool:
        """Whether it lacks more than two packets."""
        return self.lacking_s > 2 * self.length_s

    def is_like(self, other: Break) -> bool:
        """Whether another track's break near it may be of the same cause."""
        if isinf(self.lacking_s) or isinf(other.lacking_s):
            return self.lacking_s == other.lacking_s
        larger_s = max(self.lacking_s, other.lacking_s)
        return abs(self.lacking_s - other.lacking_s) <= max(GAP_S, SAME_BREAK * larger_s)


class Clock:
    """The times of decoding of a track that tell when it restarts.

    Attributes:
        numbers: Packets with a time, without those that an edit list hides.
        times_s: Their times.
        lengths_s, starts_s: Own length of every packet of the track, and its start by the lengths of those before it.
    """

    def __init__(self, track: Track) -> None:
        self.track = track
        shown = np.array(track.shown(), dtype=np.int64)
        # Some containers store no times of decoding, and FFmpeg does not know the first ones.
        has_dts = any(dts is not None for dts in track.dts)
        stamps = [self._stamp(int(number)) if has_dts else track.pts[number] for number in shown]
        is_known = np.array([stamp is not None for stamp in stamps], dtype=bool)
        self.numbers: Int64[np.ndarray, " n"] = shown[is_known]
        known = np.array([stamp for stamp in stamps if stamp is not None], dtype=np.float64)
        self.times_s: Float64[np.ndarray, " n"] = known * float(track.time_base)
        durations = np.array(track.durations, dtype=np.float64)
        is_stated = durations > 2  # a container that lacks them gives the distance to the next packet, here a tick
        growth = np.diff(known)
        usual = durations[is_stated] if is_stated.any() else growth[growth > 0]
        usual_s = float(np.median(usual)) * float(track.time_base) if len(usual) else 0.0
        self.lengths_s = np.where(is_stated, durations * float(track.time_base), usual_s)
        self.lengths_s[np.array(track.is_hidden, dtype=bool)] = 0.0
        self.starts_s: Float64[np.ndarray, " packets"] = np.cumsum(self.lengths_s) - self.lengths_s

    def _stamp(self, number: int) -> int | None:
        dts, pts, base = self.track.dts[number], self.track.pts[number], self.track.time_base
        # Whole numbers, because this runs for every packet and Fractions are slow.
        if dts is None or pts is None or abs(pts - dts) * base.numerator <= LONGEST_REORDER_S * base.denominator:
            return dts
        return pts  # FFmpeg has continued the decoding times of the recording before

    @cached_property
    def growth_s(self) -> Float64[np.ndarray, " steps"]:
        """From each packet to the next by the time stamps."""
        return np.diff(self.times_s)

    @cached_property
    def own_s(self) -> Float64[np.ndarray, " steps"]:
        """From each packet to the next by their own lengths."""
        return np.diff(self.starts_s[self.numbers])

    def _without_teeth(self, breaks: Sequence[Break]) -> list[Break]:
        """Return the breaks with those in one that go back to the same moment again and again.

        MPEG-TS states the time of every few packets of sound, and FFmpeg counts on from there.
        """
        irregular = np.flatnonzero(np.abs(self.growth_s - self.own_s) > self.own_s / 2)
        merged: list[Break] = []
        previous_s = -inf
        for found in breaks:
            step = int(np.searchsorted(self.numbers, found.first))
            time_s = float(self.times_s[step])
            if merged and 0 < time_s - previous_s <= SQUEEZED_S:
                ends = irregular[np.searchsorted(irregular, step) :]
                until = int(self.numbers[ends[0] + 1]) if len(ends) else None
                lacking_s = merged[-1].lacking_s + found.lacking_s
                merged[-1] = replace(merged[-1], lacking_s=lacking_s, until=until)
            else:
                merged.append(found)
            previous_s = time_s
        return merged

    @property
    def first_pts(self) -> int:
        """Presentation time of the first packet that has one."""
        return next((pts for number in self.track.shown() if (pts := self.track.pts[number]) is not None), 0)

    def order(self, step: int) -> int:
        """Return the place in the file of the packet that ends a step."""
        return self.track.orders[self.numbers[step + 1]]

    def breaks(self, longest_pause_s: float) -> list[Break]:
        """Return the breaks, in order. Steps that the time stamps make up for at once are jitter."""
        growth_s, own_s = self.growth_s, self.own_s
        is_back = (growth_s <= SQUEEZED_S) & (growth_s < own_s / 2)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], is_back, [False]]).astype(np.int8)))
        surplus_s = np.concatenate([[0.0], np.maximum(growth_s - own_s, 0.0), [0.0]])  # of the step before each
        lacking = np.concatenate([[0.0], np.cumsum(own_s - growth_s)])
        found = []
        for start, end in edges.reshape(-1, 2):
            lacking_s = float(lacking[end] - lacking[start] - surplus_s[start] - surplus_s[end + 1])
            length_s = float(own_s[start])
            if lacking_s <= 0.9 * length_s:
                continue
            until: int | None = int(self.numbers[start + 1])
            if growth_s[start] >= -SQUEEZED_S:
                until = int(self.numbers[end + 1]) if end + 1 < len(self.numbers) else None
            found.append(Break(int(self.numbers[start + 1]), self.order(start), lacking_s, length_s, until))
        found = self._without_teeth(found)
        for step in np.flatnonzero(growth_s - own_s > longest_pause_s):
            first = int(self.numbers[step + 1])
            found.append(Break(first, self.order(int(step)), inf, 0.0, first))
        return sorted(found, key=lambda b: b.order)

    def start_s(self, found: Break) -> float | None:
        """Return when the recording behind a break starts by the time stamps that count; None: none does."""
        if found.until is None:
            return None
        start = int(np.searchsorted(self.numbers, found.until))
        numbers = self.numbers[start : start + REORDERED]
        starts_s = self.times_s[start : start + REORDERED] - self.starts_s[numbers]
        stamps = [(self.track.pts[number], self.track.dts[number]) for number in numbers.tolist()]
        delays = [pts - dts for pts, dts in stamps if pts is not None and dts is not None]
        delay_s = float(np.mean(delays)) * float(self.track.time_base) if delays else 0.0  # of display
        return float(starts_s.min() + self.starts_s[found.first]) + delay_s

    def first_behind(self, order: int, *, may_have_gap: bool) -> int | None:
        """Return the number of the first packet behind the end of a recording at which this track has no break.

        That is the end of a gap, or else a place where the track begins or ends; None if the track runs on there.
        """
        first = bisect_left(self.track.orders, order)
        if self.lengths_s[first:].sum() < GAP_S:  # single packets may come late
            return len(self.track.orders)
        if self.starts_s[first] < GAP_S:
            return 0
        orders = np.array(self.track.orders)[self.numbers[1:]]
        is_gap = (self.growth_s - self.own_s > GAP_S) & (np.abs(orders - order) <= MOST_APART)
        gaps = np.flatnonzero(is_gap)
        if not may_have_gap or not len(gaps):
            return None
        return int(self.numbers[gaps[np.argmin(np.abs(orders[gaps] - order))] + 1])


@dataclass(frozen=True)
class Join:
    """The place where a recording ends and the next one begins.

    Attributes:
        order: Its place in the file.
        breaks: The breaks there, by the number of the track.
        firsts: For each track, number of the first packet of the later recording.
    """

    order: int
    breaks: Mapping[int, Break]
    firsts: tuple[int, ...]


def shifts_of(tracks: Sequence[Track], format_name: str) -> list[Shifts]:
    """Return, for each track, what makes every recording of a file begin where the one before it ends.

    A break is the end of a recording if all tracks have one there, or if one goes far back while the others have a gap,
    begin or end.

    Args:
        tracks: The picture, and the sound if there is any, as read.
        format_name: FFmpeg's name of the container format.
    """
    clocks = [Clock(track) for track in tracks]
    longest_pause_s = LONGEST_PAUSE_S if format_name in BROADCAST_FORMATS else inf
    breaks = [clock.breaks(longest_pause_s) for clock in clocks]
    if not any(breaks):
        return [() for _ in tracks]
    joins = _joins(clocks, breaks)
    restored = [_restored(clocks, number, breaks[number], joins) for number in range(len(clocks))]
    parts = [
        np.searchsorted(sorted(join.firsts[number] for join in joins), np.arange(len(clock.track.pts)), side="right")
        for number, clock in enumerate(clocks)
    ]
    shift_s = _part_shifts(clocks, [pts for pts, _ in restored], parts, 1 + len(joins))
    return [
        _runs(
            [
                None if ticks is None else ticks + round(shift_s[part] / clock.track.time_base)
                for ticks, part in zip(added, own_parts.tolist(), strict=True)
            ]
        )
        for clock, (_, added), own_parts in zip(clocks, restored, parts, strict=True)
    ]


def lacking_s(track: Track) -> float:
    """Return how much time the stamps of a track lack where it goes far back or stands still."""
    return max((b.lacking_s for b in Clock(track).breaks(inf) if b.is_large and b.lacking_s > RESTART_S), default=0.0)


def _joins(clocks: Sequence[Clock], breaks: Sequence[Sequence[Break]]) -> list[Join]:
    """Return the ends of recordings, in order. The largest breaks decide first which breaks belong together."""
    places = [
        (number, found)
        for number, own in enumerate(breaks)
        for found in own
        if found.is_large and clocks[number].starts_s[found.first] > GAP_S
    ]
    places.sort(key=lambda place: -place[1].lacking_s)
    orders = [[found.order for found in own] for own in breaks]
    joins: list[Join] = []
    used: set[tuple[int, int]] = set()
    for number, found in places[: MOST_RECORDINGS * len(clocks)]:
        if (number, found.first) in used:
            continue
        group = {number: found}
        for other in range(len(clocks)):
            low = bisect_left(orders[other], found.order - MOST_APART)
            high = bisect_right(orders[other], found.order + MOST_APART)
            near = [b for b in breaks[other][low:high] if (other, b.first) not in used and found.is_like(b)]
            if other != number and near:
                group[other] = min(near, key=lambda b: abs(b.order - found.order))
        may_have_gap = RESTART_S < found.lacking_s < inf
        firsts = [
            group[other].first if other in group else clock.first_behind(found.order, may_have_gap=may_have_gap)
            for other, clock in enumerate(clocks)
        ]
        known = tuple(first for first in firsts if first is not None)
        if len(known) == len(firsts):
            joins.append(Join(found.order, group, known))
            used |= {(other, b.first) for other, b in group.items()}
    return sorted(joins, key=lambda join: join.order)


def _restored(
    clocks: Sequence[Clock], number: int, breaks: Sequence[Break], joins: Sequence[Join]
) -> tuple[list[int | None], list[int | None]]:
    """Return the presentation times of a track, those that were squeezed by their own lengths, and what is added.

    What is added is None for all squeezed ones but the first of a recording.
    """
    clock, track = clocks[number], clocks[number].track
    pts: list[int | None] = list(track.pts)
    added: list[int | None] = [0] * len(pts)
    starts_s = {join.breaks[number].first: _start_s(clocks, number, join) for join in joins if number in join.breaks}
    for found in breaks:
        start_s = starts_s.get(found.first)
        if not found.is_squeezed or (start_s is None and (found.until is not None or not found.is_large)):
            continue
        end = len(pts) if found.until is None else found.until
        added[found.first : end] = [None] * (end - found.first)
        stamp = pts[found.first]
        if start_s is not None and stamp is not None:
            times_s = start_s + clock.starts_s[found.first : end] - clock.starts_s[found.first]
            pts[found.first : end] = [round(time_s / track.time_base) for time_s in times_s.tolist()]
            added[found.first] = round(start_s / track.time_base) - stamp
    return pts, added


def _start_s(clocks: Sequence[Clock], number: int, join: Join) -> float:
    """Return when a track of a recording starts; if no time stamp tells, as far after the other as in the file."""
    firsts_s = [float(clock.first_pts * clock.track.time_base) for clock in clocks]
    starts_s = {other: clocks[other].start_s(found) for other, found in join.breaks.items()}
    own_s = starts_s[number]
    if own_s is not None:
        return own_s
    known_s = [start_s - firsts_s[other] for other, start_s in starts_s.items() if start_s is not None]
    return firsts_s[number] + (known_s[0] if known_s else 0.0)


def _part_shifts(
    clocks: Sequence[Clock], pts: Sequence[list[int | None]], parts: Sequence[Int64[np.ndarray, " n"]], count: int
) -> list[float]:
    """Return what is added to the times of each recording, in seconds."""
    starts, ends = [inf] * count, [-inf] * count
    for clock, stamps, own_parts in zip(clocks, pts, parts, strict=True):
        track = clock.track
        for number in track.shown():
            stamp, part = stamps[number], int(own_parts[number])
            if stamp is not None:
                time_s = float(stamp * track.time_base)
                starts[part] = min(starts[part], time_s)
                ends[part] = max(ends[part], time_s + float(clock.lengths_s[number]))
    shift_s, end_s = [0.0] * count, ends[0]
    for part in range(1, count):
        if ends[part] > starts[part] and end_s > -inf:
            shift_s[part] = end_s - starts[part]
        end_s = max(end_s, ends[part] + shift_s[part])
    return shift_s


def _runs(added: Sequence[int | None]) -> Shifts:
    """Return where what is added changes."""
    return tuple((number, ticks) for number, ticks in enumerate(added) if ticks != (added[number - 1] if number else 0))
