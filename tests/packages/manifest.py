"""A DASH manifest, read by the library mpegdash, as flat representations."""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

from mpegdash.parser import MPEGDASHParser


class Property(NamedTuple):
    """A descriptor: scheme and value."""

    scheme: str
    value: str


class Representation(NamedTuple):
    """A representation with what it inherits from its adaptation set."""

    id: str
    set: Any
    node: Any
    file: str
    index_range: tuple[int, int] | None
    init_range: tuple[int, int] | None
    timescale: int

    @property
    def kind(self) -> str:
        """video, audio, text or image."""
        mime = str(self.inherited("mime_type") or "")
        kind = str(self.inherited("content_type") or "") or mime.partition("/")[0]
        return "text" if kind == "application" else kind

    def inherited(self, name: str) -> Any:
        """An attribute of the representation, else of its adaptation set."""
        value = getattr(self.node, name, None)
        return getattr(self.set, name, None) if value is None else value

    def properties(self, name: str) -> list[Property]:
        """The descriptors of a kind, those of the adaptation set too."""
        nodes = [*(getattr(self.node, name, None) or []), *(getattr(self.set, name, None) or [])]
        return [Property(str(node.scheme_id_uri), str(node.value or "")) for node in nodes]

    @property
    def template(self) -> Any:
        """The SegmentTemplate of the representation or its set."""
        templates = self.node.segment_templates or self.set.segment_templates or [None]
        return templates[0]

    @property
    def files(self) -> list[str]:
        """The files that it is made of."""
        if self.template is None:
            return [self.file] if self.file else []
        template = self.template
        first, scale = int(template.start_number or 1), Fraction(template.duration) / (template.timescale or 1)
        count = self.tiles[1] if scale else 0
        return [
            template.media.replace("$RepresentationID$", self.id).replace("$Number$", str(first + number))
            for number in range(count)
        ]

    @property
    def tiles(self) -> tuple[tuple[int, int], int]:
        """Columns and rows of a picture of thumbnails, and the number of pictures that the period needs."""
        written = [
            one.value
            for name in ("essential_properties", "supplemental_properties")
            for one in self.properties(name)
            if one.scheme.endswith("thumbnail_tile")
        ]
        columns, _, rows = (written or ["1x1"])[0].partition("x")
        template = self.template
        each = Fraction(template.duration) / (template.timescale or 1) if template else Fraction(0)
        needed = -(-self.set.period_seconds // each) if each else 0
        return (int(columns), int(rows)), int(needed)


class Manifest:
    """An MPD: `mpd` is the tree of mpegdash, `representations` are its leaves."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.mpd: Any = MPEGDASHParser.parse(text)
        self.duration = seconds(str(self.mpd.media_presentation_duration or "PT0S"))
        self.representations = list(self._leaves())

    def _leaves(self) -> Iterator[Representation]:
        for period in self.mpd.periods or []:
            for chosen in period.adaptation_sets or []:
                chosen.period_seconds = self.duration
                for node in chosen.representations or []:
                    bases = node.base_urls or chosen.base_urls or []
                    base = (node.segment_bases or chosen.segment_bases or [None])[0]
                    start = (base.initializations or [None])[0] if base else None
                    yield Representation(
                        str(node.id),
                        chosen,
                        node,
                        bases[0].base_url_value if bases else "",
                        _bytes(base.index_range) if base else None,
                        _bytes(start.range) if start else None,
                        int(base.timescale or 1) if base else 1,
                    )

    def sets(self) -> list[tuple[Any, list[Representation]]]:
        """The adaptation sets with their representations."""
        found: dict[int, tuple[Any, list[Representation]]] = {}
        for shown in self.representations:
            found.setdefault(id(shown.set), (shown.set, []))[1].append(shown)
        return list(found.values())


def seconds(text: str) -> Fraction:
    """An xs:duration of hours, minutes and seconds, in seconds."""
    match = re.fullmatch(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?", text)
    if not match:
        raise ValueError(f"{text} is no duration of hours, minutes and seconds")
    hours, minutes, rest = (Fraction(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + rest


def _bytes(text: str | None) -> tuple[int, int] | None:
    """A byte range of DASH, first and last byte, as start and end."""
    if not text:
        return None
    first, _, last = text.partition("-")
    return int(first), int(last) + 1
