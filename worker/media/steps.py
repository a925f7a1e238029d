"""A step of a plan: filters, and what to tell the user about them."""

from collections.abc import Mapping
from typing import NamedTuple

from elasticrecode.jobs.events import Notice


class Step(NamedTuple):
    """Filters of ffmpeg, applied in this order, and warnings. `files` are those that the filters read: name → text.

    `factor` is the number of frames that the filters make of one.
    """

    filters: tuple[str, ...] = ()
    notices: tuple[Notice, ...] = ()
    files: Mapping[str, str] = {}
    factor: float = 1.0
