"""The packets of one track of a file, and what is added to their time stamps."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

Shifts = tuple[tuple[int, int | None], ...]
"""(number of a packet, ticks to add to its time stamps and those of all later packets of the track), ascending; None:
these time stamps tell nothing, and each packet begins where the one before it ends."""


@dataclass(eq=False)
class Track:
    """What the packets of a track say; times in ticks of `time_base`.

    Attributes:
        time_base: Seconds per tick.
        pts, dts: Presentation and decoding time of each packet; None if it carries none.
        durations: 0 if a packet carries none.
        positions: Where each packet is in the file; None if unknown.
        is_hidden: Whether an edit list hides the packet.
        orders: How many packets of picture and sound come before each in the file.
        repeats_end: End of the last empty packet, which repeats the frame before it; None without such packets. Empty
            packets are not among the others.
    """

    time_base: Fraction
    pts: list[int | None] = field(default_factory=list)
    dts: list[int | None] = field(default_factory=list)
    durations: list[int] = field(default_factory=list)
    positions: list[int | None] = field(default_factory=list)
    is_hidden: list[bool] = field(default_factory=list)
    orders: list[int] = field(default_factory=list)
    repeats_end: int | None = None

    def add(self, packet: Any, order: int) -> None:
        """Append a packet."""
        if not packet.size:
            self.repeats_end = packet.pts + max(packet.duration or 0, 0)
            return
        self.orders.append(order)
        self.pts.append(packet.pts)
        self.dts.append(packet.dts)
        self.durations.append(max(packet.duration or 0, 0))
        self.positions.append(packet.pos)
        self.is_hidden.append(packet.is_discard)

    def shifted(self, shifts: Shifts) -> Track:
        """Return the track with these shifts added to its time stamps."""
        ends = [first for first, _ in shifts[1:]] + [len(self.pts)]
        pts, dts = list(self.pts), list(self.dts)
        for (first, ticks), end in zip(shifts, ends, strict=False):
            for stamps in (pts, dts):
                stamps[first:end] = [shift(stamp, ticks) for stamp in stamps[first:end]]
        return replace(self, pts=pts, dts=dts)

    def shown(self) -> list[int]:
        """Return the numbers of the packets that no edit list hides."""
        return [number for number, is_hidden in enumerate(self.is_hidden) if not is_hidden]


def shift(stamp: int | None, ticks: int | None) -> int | None:
    """Return a time stamp with what `Shifts` says of its packet."""
    return None if stamp is None or ticks is None else stamp + ticks


def is_joined(shifts: Shifts) -> bool:
    """Return whether the shifts of a track differ from packet to packet."""
    return any(number for number, _ in shifts)
