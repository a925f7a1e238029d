"""A track of a package as playlists and the MPD describe it: its facts, segments and bit rates."""

from fractions import Fraction
from typing import NamedTuple

from worker.packaging.packager import Facts
from worker.packaging.segments import Segment, average, peak
from worker.packaging.tracks import Figures, Track


class Rendition(NamedTuple):
    """A packaged track. `init` is the size of its initialization section, and `sidx` the range of its index, in bytes.

    `frames` are the key frames of a video that a player can show by themselves, or none. `rate` is in frames per
    second. `target` is the target duration in seconds. `size` and `overhead` are bytes; `channel`
    is the bit rate at which no sample comes late after the buffer of the MPD.
    """

    track: Track
    facts: Facts | None
    segments: list[Segment]
    frames: list[Segment]
    timescale: int
    rate: Fraction
    init: int
    sidx: tuple[int, int]
    target: int
    size: int
    overhead: int
    channel: int = 0

    @property
    def seconds(self) -> Fraction:
        """How long it lasts."""
        return sum((segment.seconds for segment in self.segments), Fraction(0))

    @property
    def file(self) -> str:
        """The name of its file in the package."""
        return f"{self.track.name}.{'vtt' if self.track.kind == 'text' else 'mp4'}"

    @property
    def playlist(self) -> str:
        """The name of its media playlist."""
        return f"{self.track.name}.m3u8"

    @property
    def frame_playlist(self) -> str:
        """The name of the playlist of its key frames."""
        return self.playlist if self.track.kind == "trick" else f"{self.track.name}-iframes.m3u8"

    @property
    def average(self) -> int:
        """Average segment bit rate, in bit/s."""
        return average(self.segments)

    @property
    def peak(self) -> int:
        """Peak segment bit rate, in bit/s."""
        return peak(self.segments, self.target)

    @property
    def codecs(self) -> str:
        """The RFC 6381 string of its codec; playlists name none for WebVTT that is not in MP4."""
        return self.facts.codecs if self.facts else "vtt"

    @property
    def family(self) -> tuple[str, str]:
        """What a player must be able to show: the codec without its level, and the range."""
        return self.codecs.partition(".")[0], self.facts.video_range if self.facts else ""

    @property
    def figures(self) -> Figures:
        """Its figures for the job's record."""
        kind, segments = self.track.kind, len(self.segments)
        return Figures(
            *(self.track.name, kind, self.size, self.average, self.peak, self.codecs, segments, self.overhead)
        )
