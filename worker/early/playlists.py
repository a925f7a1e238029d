"""What plays while a package is made: segments of one rung's chunks, segments of a sound, and their playlists. Pure.

A playlist only grows (RFC 8216 calls that EVENT), until its end is known.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from worker.cuts.fragments import Sample, SampleDescription, boxes, fragment
from worker.packaging.hls import quoted, text

_ENTRY = re.compile(r"#EXTINF:(\d{1,6}(?:\.\d{1,6})?),\n(?:#EXT-X-GAP\n)?([\w.-]{1,100})\n", re.ASCII)
_SOUND_CODEC = "mp4a.40.2"
_RANGES = {"sdr": "SDR", "hdr10": "PQ", "hlg": "HLG"}


class Part(NamedTuple):
    """A segment in a playlist: for how many seconds it plays, and the name of its file. A gap has no file to load."""

    seconds: Fraction
    name: str
    is_gap: bool = False


class Cut(NamedTuple):
    """A segment to be made of a chunk: its seconds, its samples with the times of the film, and its first bytes.

    The bytes of the samples, at their offsets in the chunk's file, follow `head` in their order.
    """

    seconds: Fraction
    samples: list[Sample]
    head: bytes


def cut(samples: Sequence[Sample], start: int, end: int | None, ticks: int, step: int, number: int) -> list[Cut]:
    """The segments of a chunk that begins at `start` and ends at `end`, in ticks of the film; None is its last frame's.

    `samples` are in decode order with times from 0 on, `step` the length of a segment in ticks, and `number` that of
    the first one. Each begins with the first key frame at its time or later, so the last one may be shorter. A frame is
    decoded when the one at its place in the order of display is shown: so segments follow each other without a gap,
    whatever an encoder's delay is. Raises ValueError for samples that do not begin with a key frame.
    """
    if not samples or not samples[0].is_key:
        raise ValueError("a chunk does not begin with a key frame")
    firsts, due = [0], step
    for place, sample in enumerate(samples):
        if sample.is_key and sample.pts >= due:
            firsts.append(place)
            due = (sample.pts // step + 1) * step
    groups = [samples[first:last] for first, last in zip(firsts, [*firsts[1:], len(samples)], strict=True)]
    starts = [start, *(start + min(each.pts for each in group) for group in groups[1:])]
    stop = start + max(each.pts + each.duration for each in groups[-1]) if end is None else end
    ends = [*starts[1:], max(stop, starts[-1] + 1)]
    cuts = []
    for place, (group, first, last) in enumerate(zip(groups, starts, ends, strict=True)):
        shown = [*sorted(start + each.pts for each in group), last]
        moved = [
            each._replace(pts=start + each.pts, dts=shown[n], duration=max(0, shown[n + 1] - shown[n]))
            for n, each in enumerate(group)
        ]
        cuts.append(Cut(Fraction(last - first, ticks), moved, fragment(moved, number + place + 1)))
    return cuts


def gaps(start: int, end: int, ticks: int, step: int) -> list[Fraction]:
    """The seconds of the segments that a chunk without a frame stands for."""
    bounds = [*range(start, end, step), end]
    return [Fraction(b - a, ticks) for a, b in pairwise(bounds)]


def playlist(parts: Sequence[Part], init: str, target: int, *, is_whole: bool) -> str:
    """The playlist of segments that are there. `target` is the target duration in seconds, which never changes."""
    lines = [
        f"#EXT-X-TARGETDURATION:{target}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:EVENT",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        "#EXT-X-START:TIME-OFFSET=0",
        f'#EXT-X-MAP:URI="{init}"',
    ]
    for part in parts:
        lines += [f"#EXTINF:{float(part.seconds):.6f},", *(["#EXT-X-GAP"] if part.is_gap else []), part.name]
    return text([*lines, *(["#EXT-X-ENDLIST"] if is_whole else [])])


def parts_of(listed: str) -> list[Part]:
    """The segments in a playlist of `playlist`, which another worker may have written."""
    return [Part(Fraction(entry[1]), entry[2], is_gap="#EXT-X-GAP" in entry[0]) for entry in _ENTRY.finditer(listed)]


def target_duration(step: Fraction, most: Fraction = Fraction(0)) -> int:
    """The target duration of segments of `step` seconds, each of which may be `most` longer."""
    return max(1, int(step + most + Fraction(1, 2)))


class Picture(NamedTuple):
    """The rung that plays early: its codec string, size, frames a second, dynamic range, and bit/s at most."""

    codecs: str
    width: int
    height: int
    rate: Fraction
    dynamic_range: str
    peak: int


class Sound(NamedTuple):
    """The sound beside it: its language, the address of its playlist, and bit/s at most."""

    language: str
    uri: str
    peak: int


def entry(picture: Picture, uri: str, sound: Sound | None) -> str:
    """The multivariant playlist, which players open; `uri` is the address of the picture's playlist."""
    lines = ["#EXT-X-INDEPENDENT-SEGMENTS", "#EXT-X-START:TIME-OFFSET=0"]
    codecs, group = picture.codecs, ""
    if sound:
        codecs, group = f"{codecs},{_SOUND_CODEC}", ',AUDIO="stereo"'
        lines.append(
            f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="stereo",LANGUAGE={quoted(sound.language)},NAME="Audio",DEFAULT=YES,'
            f'AUTOSELECT=YES,CHANNELS="2",URI={quoted(sound.uri)}'
        )
    lines.append(
        f"#EXT-X-STREAM-INF:BANDWIDTH={picture.peak + (sound.peak if sound else 0)},CODECS={quoted(codecs)},"
        f"RESOLUTION={picture.width}x{picture.height},FRAME-RATE={float(picture.rate):.3f},"
        f"VIDEO-RANGE={_RANGES[picture.dynamic_range]}{group},CLOSED-CAPTIONS=NONE"
    )
    return text([*lines, uri])


def codec_string(described: SampleDescription) -> str:
    """The codec of a sample description as RFC 6381 has it. Raises ValueError for one that packages do not have."""
    members = {each.kind: each.body for each in described.members}
    try:
        if described.kind == b"avc1":
            return f"avc1.{members[b'avcC'][1:4].hex().upper()}"
        if described.kind == b"hvc1":
            return _hevc(members[b"hvcC"])
        if described.kind == b"av01":
            _, packed, flags = struct.unpack_from(">BBB", members[b"av1C"])
            depth = (12 if flags & 0x20 else 10) if flags & 0x40 else 8
            return f"av01.{packed >> 5}.{packed & 0x1F:02}{'H' if flags & 0x80 else 'M'}.{depth:02}"
    except (KeyError, struct.error) as error:
        raise ValueError(f"a sample description of {described.kind!r} is cut short") from error
    raise ValueError(f"no codec of a package: {described.kind!r}")


def _hevc(body: bytes) -> str:
    packed, compatible, constraints, level = struct.unpack_from(">xBI6sB", body)
    flags = int(f"{compatible:032b}"[::-1], 2)
    tier = "H" if packed & 0x20 else "L"
    space = ("", "A", "B", "C")[packed >> 6]
    words = [f"{each:X}" for each in constraints.rstrip(b"\0")]
    return ".".join(["hvc1", f"{space}{packed & 0x1F}", f"{flags:X}", f"{tier}{level}", *words])


class Fragment(NamedTuple):
    """A whole moof with its mdat in a file that grows: where it lies, and the seconds that it plays."""

    offset: int
    size: int
    seconds: Fraction


class GrowingFile:
    """Finds the head and the whole fragments of a fragmented MP4 with one track, of which `take` gets more and more.

    `head` is None until the moov is there.
    """

    def __init__(self) -> None:
        self.head: bytes | None = None
        self.ticks = 0
        self._begun = 0
        """Where the boxes lie that are not taken yet."""
        self._moof: tuple[int, int] | None = None

    @property
    def wanted(self) -> int:
        """The offset from which on `take` needs the bytes."""
        return self._begun

    def take(self, data: bytes) -> list[Fragment]:
        """The further fragments in the file's bytes from `wanted` on. Raises ValueError for another file."""
        fragments: list[Fragment] = []
        place = 0
        while len(data) - place >= 8:
            size, kind = struct.unpack_from(">I4s", data, place)
            if size < 8:
                raise ValueError(f"a box {kind!r} has {size} bytes")
            if size > len(data) - place:
                break
            body = data[place + 8 : place + size]
            if kind == b"moov":
                self.head = (self.head or b"") + data[place : place + size]
                self.ticks = _timescale(body)
            elif kind == b"ftyp":
                self.head = data[place : place + size]
            elif kind == b"moof":
                self._moof = self._begun + place, _duration(body)
            elif kind == b"mdat" and self._moof and self.ticks:
                offset, duration = self._moof
                seconds = Fraction(duration, self.ticks)
                fragments.append(Fragment(offset, self._begun + place + size - offset, seconds))
                self._moof = None
            place += size
        self._begun += place
        return fragments


def _walk(body: bytes, *path: bytes) -> Iterator[bytes]:
    """The bodies of the boxes at a path."""
    for box in boxes(body):
        if box.kind == path[0]:
            yield from _walk(box.body, *path[1:]) if path[1:] else [box.body]


def _timescale(moov: bytes) -> int:
    mdhd = next(_walk(moov, b"trak", b"mdia", b"mdhd"), b"")
    try:
        (ticks,) = struct.unpack_from(">I", mdhd, 20 if mdhd[:1] == b"\1" else 12)
    except struct.error as error:
        raise ValueError("a head without a timescale") from error
    return int(ticks)


def _duration(moof: bytes) -> int:
    """The ticks of the samples of a moof."""
    try:
        tfhd = next(_walk(moof, b"traf", b"tfhd"), b"")
        (flags,) = struct.unpack_from(">I", tfhd)
        place = 8 + (8 if flags & 1 else 0) + (4 if flags & 2 else 0)
        usual = struct.unpack_from(">I", tfhd, place)[0] if flags & 8 else 0
        return sum(_run(trun, usual) for trun in _walk(moof, b"traf", b"trun"))
    except struct.error as error:
        raise ValueError("a fragment is cut short") from error


def _run(trun: bytes, usual: int) -> int:
    flags, count = struct.unpack_from(">II", trun)
    if not flags & 0x100:
        return int(count * usual)
    place = 8 + (4 if flags & 1 else 0) + (4 if flags & 4 else 0)
    width = 4 * (flags >> 8 & 0xF).bit_count()
    return sum(struct.unpack_from(">I", trun, place + n * width)[0] for n in range(count))
