"""When an image was taken, by the tags of its file."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

TAGS = ("ACQUISITION", "ACQUISITIONDATETIME", "NITF_IDATIM", "IMAGING_DATE", "TIFFTAG_DATETIME")
"""Tags that name a time, the first that is there counts; the last may be that of the file's making."""
FORMS = ("%Y%m%d%H%M%S", "%Y:%m:%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d", "%Y%m%d")


def acquisition_time(tags: Mapping[str, str]) -> datetime | None:
    """Return the time (UTC) that an image's tags state; None where none of ``TAGS`` holds one."""
    for name in TAGS:
        text = tags.get(name, "").strip().removesuffix("Z").partition(".")[0]
        for form in FORMS if text else ():
            try:
                return datetime.strptime(text, form).replace(tzinfo=timezone.utc)
            except ValueError:
                continue
    return None
