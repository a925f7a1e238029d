"""HLS playlists, read by the library m3u8, with names of files resolved against the folder of the package."""

import posixpath
import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import m3u8


class Range(NamedTuple):
    """Bytes `start` to `end` of a file; `end` is None for all of it."""

    file: str
    start: int
    end: int | None


class Segment(NamedTuple):
    """A media segment: its EXTINF in seconds, its bytes, and the method and URI of its key."""

    duration: Fraction
    range: Range
    method: str
    key_uri: str
    key_format: str
    iv: str


class Playlist:
    """A media playlist: `name` is its file below the folder of the package."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text
        parsed: Any = m3u8.loads(text)
        self.parsed = parsed
        self.version = int(parsed.version or 1)
        self.target = int(parsed.target_duration or 0)
        self.type = str(parsed.playlist_type or "").upper()
        self.is_iframes = bool(parsed.is_i_frames_only)
        self.is_independent = bool(parsed.is_independent_segments)
        self.is_ended = bool(parsed.is_endlist)
        self.tiles = re.findall(r"^#EXT-X-TILES:(.*)$", text, re.MULTILINE)
        self.segments = list(self._segments(parsed.segments))
        maps = [
            (segment.init_section.uri, segment.init_section.byterange)
            for segment in parsed.segments
            if segment.init_section
        ]
        self.maps = list(dict.fromkeys(_range(name, uri, written, 0) for uri, written in maps))

    def _segments(self, parsed: Iterable[Any]) -> Iterator[Segment]:
        ends: dict[str, int] = {}
        for segment in parsed:
            place = _range(self.name, segment.uri, segment.byterange, ends.get(segment.uri, 0))
            ends[segment.uri] = place.end or 0
            key = segment.key
            shown = (
                (key.method or "", key.uri or "", key.keyformat or "", key.iv or "") if key else ("NONE", "", "", "")
            )
            yield Segment(Fraction(str(segment.duration)), place, *shown)

    @property
    def files(self) -> set[str]:
        """The media files that it refers to."""
        return {segment.range.file for segment in self.segments} | {place.file for place in self.maps}

    @property
    def is_ciphertext(self) -> bool:
        """Whether its segments are encrypted whole (AES-128), so that nobody without the key reads their boxes."""
        return any(segment.method == "AES-128" for segment in self.segments)

    @property
    def duration(self) -> Fraction:
        """Seconds of all segments, by their EXTINF."""
        return sum((segment.duration for segment in self.segments), Fraction(0))

    def rates(self, sizes: dict[str, int]) -> tuple[Fraction, Fraction]:
        """Average and peak bit/s of the segments; the peak by the rule of RFC 8216bis section 4.4.6.2.

        The peak is the largest rate of contiguous segments which last 0.5 to 1.5 targets; of all, where none does.
        """
        lengths = [segment.duration for segment in self.segments]
        bits = [
            8 * ((place.end if place.end is not None else sizes[place.file]) - place.start)
            for place in (segment.range for segment in self.segments)
        ]
        average = Fraction(sum(bits)) / sum(lengths)
        peak = Fraction(0)
        for first in range(len(bits)):
            total, time = 0, Fraction(0)
            for size, length in zip(bits[first:], lengths[first:], strict=True):
                total, time = total + size, time + length
                if time > self.target * Fraction(3, 2):
                    break
                if time >= Fraction(self.target, 2):
                    peak = max(peak, total / time)
        return average, peak or average


def resolve(base: str, uri: str) -> str:
    """The file that a URI in the playlist `base` names, below the folder of the package."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(base), uri))


def _range(base: str, uri: str, written: str | None, following: int) -> Range:
    """A byte range as a playlist writes it; without an offset it begins where the last one ended."""
    file = resolve(base, uri)
    if not written:
        return Range(file, 0, None)
    size, _, offset = written.strip('"').partition("@")
    start = int(offset) if offset else following
    return Range(file, start, start + int(size))


class Variant(NamedTuple):
    """A variant or I-frame variant: its attributes as written, and the playlist that it names."""

    attributes: dict[str, str]
    playlist: str
    is_iframes: bool = False

    @property
    def codecs(self) -> list[str]:
        """The strings of CODECS."""
        return [codec.strip() for codec in self.attributes.get("CODECS", "").split(",") if codec]

    def number(self, name: str) -> Fraction | None:
        """An attribute as a number; None where it is missing."""
        return Fraction(self.attributes[name]) if name in self.attributes else None


class Rendition(NamedTuple):
    """An EXT-X-MEDIA tag: its attributes as written, and the playlist that it names, if any."""

    attributes: dict[str, str]
    playlist: str

    @property
    def group(self) -> tuple[str, str]:
        """Its type and group."""
        return self.attributes.get("TYPE", ""), self.attributes.get("GROUP-ID", "")

    @property
    def label(self) -> str:
        """A name to show a reader."""
        return f"{'/'.join(self.group)}/{self.attributes.get('NAME', '?')}"


class Master:
    """A multivariant playlist. m3u8 parses it; its attributes are kept as written."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text
        self.parsed: Any = m3u8.loads(text)
        self.version = int(self.parsed.version or 1)
        self.is_independent = bool(self.parsed.is_independent_segments)
        self.variants: list[Variant] = []
        self.iframes: list[Variant] = []
        self.images: list[Variant] = []
        self.renditions: list[Rendition] = []
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        for number, line in enumerate(lines):
            tag, _, rest = line.partition(":")
            attributes = attribute_list(rest) if tag.startswith("#EXT-X-") else {}
            uri = resolve(name, attributes["URI"]) if attributes.get("URI") else ""
            if tag == "#EXT-X-STREAM-INF":
                following = next((later for later in lines[number + 1 :] if not later.startswith("#")), "")
                self.variants.append(Variant(attributes, resolve(name, following)))
            elif tag == "#EXT-X-I-FRAME-STREAM-INF":
                self.iframes.append(Variant(attributes, uri, True))
            elif tag == "#EXT-X-IMAGE-STREAM-INF":
                self.images.append(Variant(attributes, uri))
            elif tag == "#EXT-X-MEDIA":
                self.renditions.append(Rendition(attributes, uri))

    def of_kind(self, kind: str) -> list[Rendition]:
        """The renditions of a TYPE."""
        return [rendition for rendition in self.renditions if rendition.group[0] == kind]


def attribute_list(text: str) -> dict[str, str]:
    """An attribute list (RFC 8216 section 4.2): names and values, quotes removed."""
    return {name: value.strip('"') for name, value in re.findall(r'([A-Z0-9-]+)=("[^"]*"|[^,]*)', text)}
