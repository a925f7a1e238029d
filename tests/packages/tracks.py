"""A track file of a package: its boxes, fragments and samples, and the facts that ffprobe reads from its bitstream."""

import json
import subprocess
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.packages import codecs
from tests.packages.boxes import (
    Box,
    Defaults,
    Fragment,
    Index,
    MalformedBoxes,
    Protection,
    Sample,
    defaults,
    edits,
    fragments,
    index,
    protection,
    timescale,
    walk,
)

_KINDS = {b"vide": "video", b"soun": "audio"}
_RANGES = {"smpte2084": "PQ", "arib-std-b67": "HLG"}


class Track:
    """A fragmented MP4 file with one track. Times are seconds of the presentation, as exact fractions."""

    def __init__(self, path: Path, name: str, data: bytes) -> None:
        self.path, self.name, self.data = path, name, data
        self.boxes = walk(data)
        moov = next((box for box in self.boxes if box.kind == "moov"), None)
        traks = list(moov.every("trak")) if moov else []
        if moov is None or len(traks) != 1:
            raise MalformedBoxes(f"{name} has {len(traks)} tracks, not one")
        self.moov, self.trak = moov, traks[0]
        entry = self.trak.first("mdia", "minf", "stbl", "stsd", "*")
        header, handler, trex = (
            self.trak.first("mdia", "mdhd"),
            self.trak.first("mdia", "hdlr"),
            moov.first("mvex", "trex"),
        )
        if entry is None or header is None or handler is None:
            raise MalformedBoxes(f"{name} lacks a sample entry, a media header or a handler")
        self.entry: Box = entry
        self.timescale = timescale(header)
        self.kind = _KINDS.get(handler.payload[8:12], "text")
        self.fragments: list[Fragment] = fragments(self.boxes, defaults(trex) if trex else Defaults(0, 0, 0))
        sidx = next((box for box in self.boxes if box.kind == "sidx"), None)
        self.index: Index | None = index(sidx) if sidx else None
        self.shift = next((edit.media for edit in edits(self.trak) if edit.media >= 0), 0)

    @property
    def samples(self) -> Iterator[Sample]:
        """All samples in decode order."""
        return (sample for fragment in self.fragments for sample in fragment.samples)

    def time(self, tick: int) -> Fraction:
        """Where a presentation tick of the media lies in the presentation."""
        return Fraction(tick - self.shift, self.timescale)

    def seconds(self, ticks: int) -> Fraction:
        """A number of ticks in seconds."""
        return Fraction(ticks, self.timescale)

    def span(self, samples: Iterable[Sample]) -> tuple[Fraction, Fraction]:
        """Where samples begin and end in the presentation; what the edit list cuts off before zero is left out."""
        times = [(sample.presentation, sample.presentation + sample.duration) for sample in samples]
        return max(Fraction(0), self.time(min(first for first, _ in times))), self.time(max(last for _, last in times))

    def samples_in(self, start: int, end: int) -> list[Sample]:
        """The samples of the fragments in a range of bytes."""
        return [sample for one in self.fragments if start <= one.start < end for sample in one.samples]

    @cached_property
    def duration(self) -> Fraction:
        """Seconds of the presentation."""
        start, end = self.span(self.samples)
        return end - start

    @cached_property
    def frame(self) -> Fraction:
        """Seconds of the longest sample."""
        return self.seconds(max((sample.duration for sample in self.samples), default=0))

    @cached_property
    def media_start(self) -> int:
        """The byte behind ftyp and moov, where the initialization section ends."""
        return self.moov.end

    @cached_property
    def codec(self) -> str:
        """The codec string derived from the sample entry."""
        return codecs.codec_string(self.entry)

    @property
    def protection(self) -> Protection | None:
        """How the samples are encrypted."""
        return protection(self.entry)

    def bytes_of(self, sample: Sample) -> bytes:
        """The bytes of a sample."""
        return self.data[sample.offset : sample.offset + sample.size]

    @cached_property
    def random_access(self) -> list[Sample]:
        """The samples that are IDR pictures or key frames by their bitstream, whatever their flags say."""
        kind, size = codecs.entry_kind(self.entry), codecs.nal_length_size(self.entry)
        return [sample for sample in self.samples if codecs.is_random_access(kind, self.bytes_of(sample), size)]

    @cached_property
    def probe(self) -> dict[str, Any]:
        """The stream as ffprobe shows it."""
        return _ffprobe("-i", str(self.path))

    @cached_property
    def bitstream(self) -> dict[str, Any]:
        """The stream as ffprobe shows it without the container, whose colr box would hide what the bitstream says."""
        form, data = codecs.elementary(self.entry, self.bytes_of(next(self.samples)))
        return _ffprobe("-f", form, "-i", "-", data=data) if form else self.probe

    @property
    def video_range(self) -> str:
        """SDR, PQ or HLG, by the transfer function of the bitstream."""
        return _RANGES.get(self.bitstream.get("color_transfer", ""), "SDR")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the coded pictures that are shown, in pixels."""
        return int(self.probe["width"]), int(self.probe["height"])

    @property
    def shape(self) -> Fraction:
        """The width of a pixel by its height."""
        written = self.probe.get("sample_aspect_ratio", "1:1")
        wide, _, high = written.partition(":")
        return Fraction(int(wide), int(high)) if int(wide) and int(high) else Fraction(1)

    @cached_property
    def frame_rate(self) -> Fraction:
        """Pictures per second, over the whole track."""
        count = sum(len(fragment.samples) for fragment in self.fragments)
        return count / self.seconds(sum(fragment.duration for fragment in self.fragments))

    @property
    def channels(self) -> int:
        """Audio channels of the bitstream."""
        return int(self.probe["channels"])


def _ffprobe(*source: str, data: bytes | None = None) -> dict[str, Any]:
    """The first stream of a source as ffprobe shows it."""
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", *source]
    done = subprocess.run(command, input=data, capture_output=True, check=True, timeout=60)
    streams: list[dict[str, Any]] = json.loads(done.stdout)["streams"]
    return streams[0]
