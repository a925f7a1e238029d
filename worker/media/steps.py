"""A step of a plan: filters, and what to tell the user about them."""

from typing import NamedTuple

from elasticrecode.jobs.events import Notice


class Step(NamedTuple):
    """Filters of ffmpeg, applied in this order, and warnings."""

    filters: tuple[str, ...] = ()
    notices: tuple[Notice, ...] = ()
