"""The pictures of what plays early: one rung, cut into segments chunk by chunk."""

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from elasticrecode.media.codecs import encoder_of
from elasticrecode.media.profiles import bits
from elasticrecode.parts.part import PartResult
from worker.chunks import Place
from worker.cuts.fragments import head_of
from worker.early import playlists
from worker.early.files import EarlyFiles
from worker.early.playlists import Part, Sound
from worker.films import ChunkResult
from worker.joining.chunks import ChunkFile, Table, read_table
from worker.media import timing
from worker.media.ladder import Ladder
from worker.media.pieces import Chunk, Piece
from worker.sandbox.runner import Runner

FOLDER = "early"
"""The folder in that of the job where the files of chunks lie meanwhile."""
_PLAYLIST, _INIT = "video.m3u8", "video-init.mp4"
_LEAST_LINES = 360
_PACKET = Fraction(1024, 44_100)
"""Seconds of a packet of AAC, the longest."""
_MOST_HELD_SECONDS = 3600
"""For how long the last frame may be held while the sound goes on."""


def chosen(ladder: Ladder) -> int:
    """The rung that plays early: H.264 before others, of 360 lines or more the smallest, else the largest."""

    def rank(number: int) -> tuple[bool, bool, int]:
        picture = ladder.rungs[number].picture
        lines, is_common = min(picture.size), encoder_of(picture.encode.codec)[0].stream == "h264"
        return not is_common, lines < _LEAST_LINES, lines if lines >= _LEAST_LINES else -lines

    return min(range(len(ladder.rungs)), key=rank)


class EarlyPicture:
    """The rung that plays early: its segments, made of one chunk after another."""

    def __init__(
        self, files: EarlyFiles, at: Place, runner: Runner, ladder: Ladder, chunks: Sequence[tuple[str, Chunk]]
    ) -> None:
        """`chunks` are those of the rungs with their names, in the order of the film."""
        self._files, self._at, self._runner, self._ladder = files, at, runner, ladder
        self.rung = chosen(ladder)
        package = at.job.profile.package
        self.step_seconds = ladder.segment_seconds(package.segmentSeconds if package else 6)
        self._step = int(self.step_seconds * ladder.ticks)
        self.target = playlists.target_duration(self.step_seconds, _PACKET)
        self._chunks = [self._chunk(number, *each) for number, each in enumerate(chunks)]
        self._parts: list[Part] = []
        self.next = 0
        self.codecs = ""
        """That of the segments; empty before this worker has published one."""

    def _chunk(self, number: int, name: str, chunk: Chunk) -> ChunkFile:
        rate, ticks = self._ladder.rate, self._ladder.ticks
        begin, end = Piece(chunk, ()).bounds(rate)
        file = self._at.folder / FOLDER / f"chunk-{number}.mp4"
        return ChunkFile(file, name, int(begin * ticks / rate), None if end is None else int(end * ticks / rate))

    @property
    def seconds(self) -> Fraction:
        """The length of the film, as it is planned."""
        video, encode = self._ladder.source.video, self._ladder.rungs[0].picture.encode
        return Fraction(timing.length(video, encode) or 0.0).limit_denominator(1_000_000)

    @property
    def is_whole(self) -> bool:
        """Whether all chunks are published."""
        return self.next == len(self._chunks)

    def names(self) -> list[str]:
        """The names of all files that there may be."""
        last = self._chunks[-1]
        # A chunk begins a segment of its own; the last one may be held while the sound goes on.
        count = len(self._chunks) + last.start // self._step + 1 + _MOST_HELD_SECONDS * self._ladder.ticks // self._step
        return [_PLAYLIST, _INIT, *(f"video-{n}.m4s" for n in range(count))]

    def adopt(self) -> None:
        """Go on behind the chunks that another worker has published."""
        self._parts = self._files.listed(_PLAYLIST)
        done = sum(part.seconds for part in self._parts) * self._ladder.ticks
        while not self.is_whole and (end := self._chunks[self.next].end) is not None and end <= done + 1:
            self.next += 1

    def publish(self, result: PartResult) -> None:
        """Publish the segments of the next chunk. Raises JobError or Interrupted."""
        chunk, figures = self._chunks[self.next], msgspec.json.decode(result.figures, type=ChunkResult)
        name, parts = f"{self.rung}", list(self._parts)
        if name in figures.files:
            self._at.storage.download(result.files[figures.files.index(name)].uri, chunk.file, self._runner)
            try:
                table = read_table(chunk, self._at.settings.ffprobe, self._runner)
                parts += self._cut(chunk, table, len(parts))
            finally:
                chunk.file.unlink(missing_ok=True)
        elif chunk.end is not None:
            lengths = playlists.gaps(chunk.start, chunk.end, self._ladder.ticks, self._step)
            parts += [Part(each, f"video-{len(parts) + n}.m4s", is_gap=True) for n, each in enumerate(lengths)]
        self.show(parts, is_whole=self.next + 1 == len(self._chunks))
        self._parts = parts
        self.next += 1

    def _cut(self, chunk: ChunkFile, table: Table, number: int) -> list[Part]:
        try:
            cuts = playlists.cut(table.samples, chunk.start, chunk.end, self._ladder.ticks, self._step, number)
            self.codecs = playlists.codec_string(table.description)
            head = head_of(table.moov, 0)
        except ValueError as error:
            raise chunk.error(f"cannot be played early: {error}.") from error
        if not number:
            self._files.put(_INIT, head)
        parts = []
        with chunk.file.open("rb") as file:
            for n, each in enumerate(cuts, number):
                content = bytearray(each.head)
                for sample in each.samples:
                    file.seek(sample.offset)
                    content += file.read(sample.size)
                parts.append(Part(each.seconds, f"video-{n}.m4s"))
                self._files.put(parts[-1].name, bytes(content))
        return parts

    def show(self, parts: Sequence[Part], *, is_whole: bool) -> None:
        """Store the playlist with these segments."""
        text = playlists.playlist(parts, _INIT, self.target, is_whole=is_whole)
        self._files.put_playlist(_PLAYLIST, text)

    def entry(self, sound: Sound | None) -> str:
        """The file that players open."""
        picture = self._ladder.rungs[self.rung].picture
        encode, size = picture.encode, picture.size
        peak = encode.maxBitrate or encode.bitrate
        described = playlists.Picture(
            self.codecs,
            size.width,
            size.height,
            Fraction(picture.gop) / self._ladder.gop_seconds,
            picture.signal.dynamic_range,
            bits(peak) if peak else 0,
        )
        return playlists.entry(described, self._files.relative(_PLAYLIST), sound)
