"""What decoded frames carry beside their pictures."""

from __future__ import annotations

from typing import Any


def side_data_of(picture: Any) -> list[Any] | None:
    """Return the side data of a decoded frame (`av.VideoFrame`); None if PyAV does not know the type of one of them.

    PyAV 18 does not know EXIF data, which cameras write into JPEG and TIFF pictures.
    """
    try:
        return list(picture.side_data)
    except ValueError:
        return None
