"""Chapters and tags of the output, and what a source holds that no output gets. Pure.

The output gets the source's chapters, its title, and the languages of its tracks. All other tags are left out: they may
tell where, when, by whom and with which device a film was made.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from elasticrecode.jobs.events import Notice
from elasticrecode.media.profiles import Ffmpeg
from worker.media.source import MOST_READ, Chapter, Source

TAGS = "tags.ffmetadata"
"""The file with the output's title and chapters, in the job's folder."""
_CHAPTER_MUXERS = ("mp4", "mov", "matroska")
_MAX_CHAPTERS = 1000
_SPECIAL = re.compile(r"([=;#\\])")
_WORDS = {
    "tmcd": "timecode",
    "timed_id3": "timed ID3",
    "scte_35": "SCTE-35",
    "klv": "KLV",
    "gpmd": "telemetry",
    "mjpeg": "JPEG picture",
    "png": "PNG picture",
}


def chapters(source: Source, encode: Ffmpeg) -> list[Chapter]:
    """The chapters of the output, on its clock: shifted and cut as `start` and `end` cut the film; the first 1000."""
    return _cut(source, encode)[:_MAX_CHAPTERS]


def _cut(source: Source, encode: Ffmpeg) -> list[Chapter]:
    start, end = encode.start or 0.0, encode.end or float("inf")
    cut = (
        Chapter(max(0.0, one.start - start), min(one.end, end) - start, one.title)
        for one in source.chapters[:MOST_READ]
    )
    return [one for one in cut if one.end > one.start]


def tags(source: Source, encode: Ffmpeg, muxer: str) -> str:
    """The title and chapters of the output as ffmpeg's metadata file; empty where there are none."""
    lines = [f"title={_escaped(source.title)}"] if source.title else []
    for one in chapters(source, encode) if muxer in _CHAPTER_MUXERS else ():
        span = f"START={round(one.start * 1000)}\nEND={round(one.end * 1000)}"
        lines.append(f"[CHAPTER]\nTIMEBASE=1/1000\n{span}\ntitle={_escaped(one.title)}")
    return "\n".join((";FFMETADATA1", *lines, "")) if lines else ""


def tag_input(source: Source, encode: Ffmpeg, muxer: str) -> list[str]:
    """Options of ffmpeg that open TAGS, if the output gets any."""
    whitelists = ("-protocol_whitelist", "file", "-format_whitelist", "ffmetadata")
    return [*whitelists, "-f", "ffmetadata", "-i", f"file:{TAGS}"] if tags(source, encode, muxer) else []


def tag_options(source: Source, encode: Ffmpeg, muxer: str, number: int) -> list[str]:
    """Options of ffmpeg that give the output the tags of its input `number`, and no other."""
    if not tags(source, encode, muxer):
        return ["-map_metadata", "-1", "-map_chapters", "-1"]
    return ["-map_metadata:g", str(number), "-map_metadata:s", "-1", "-map_chapters", str(number)]


def left_out(source: Source, encode: Ffmpeg, muxer: str) -> tuple[Notice, ...]:
    """What the source holds that the output does not get, one warning for each kind."""
    notices = []
    for code, kind, noun in _kinds():
        tracks = [track for track in source.others if track.kind == kind and not _is_chapter_track(source, track.codec)]
        if tracks:
            names, plural = _listed(track.codec for track in tracks), "" if len(tracks) == 1 else "s"
            of = " of programs that the film is not in" if kind == "program" else ""
            notices.append(Notice(code, f"The output leaves out {len(tracks)} {noun}{plural}{of}: {names}."))
    count = len(_cut(source, encode))
    if count and muxer not in _CHAPTER_MUXERS:
        message = f"The output leaves out {count} chapters, which its container cannot hold: choose mp4, mov or mkv."
        notices.append(Notice("chapters-left-out", message))
    elif count > _MAX_CHAPTERS or len(source.chapters) > MOST_READ:
        kept = min(count, _MAX_CHAPTERS)
        total = f"{count} chapters within its time"
        if len(source.chapters) > MOST_READ:
            total += f"; of the input's chapters the first {MOST_READ} were read"
        notices.append(Notice("chapters-left-out", f"The output has the first {kept} of {total}."))
    return tuple(notices)


def _is_chapter_track(source: Source, codec: str) -> bool:
    """Whether a data track holds the titles of chapters, as QuickTime stores them."""
    return bool(source.chapters) and codec in ("text", "bin_data")


def _kinds() -> Iterator[tuple[str, str, str]]:
    """Warning, ffprobe's kind, and noun of tracks that no output gets."""
    yield "data-left-out", "data", "data track"
    yield "attachments-left-out", "attachment", "attachment"
    yield "pictures-left-out", "video", "picture track"
    yield "programs-left-out", "program", "track"


def _listed(names: Iterable[str]) -> str:
    """Names in their order, each once, with their counts."""
    counts = Counter(_WORDS.get(name, re.sub(r"[^\w.-]", "", name, flags=re.ASCII)[:20] or "unknown") for name in names)
    return ", ".join(f"{name} ({count})" if count > 1 else name for name, count in counts.most_common(8))


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", "".join(filter(str.isprintable, " ".join(text.split()))))
