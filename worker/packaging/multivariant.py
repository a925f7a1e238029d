"""The multivariant playlist of HLS, `master.m3u8`."""

from collections.abc import Iterator, Sequence

from worker.packaging import segments
from worker.packaging.groups import Group, audio_groups, unique_names
from worker.packaging.hls import IMAGES, quoted, text
from worker.packaging.rendition import Rendition
from worker.packaging.segments import Segment
from worker.packaging.tracks import Thumbnails

_DEFAULT_RATE = 2_000_000
"""Bit/s. Apple: the variant that players start with has about 2000 kbit/s, in H.264."""
_SUBTITLES = "subtitles"
_SDH = "public.accessibility.transcribes-spoken-dialog,public.accessibility.describes-music-and-sound"


def multivariant(renditions: Sequence[Rendition], version: str, images: tuple[Thumbnails, list[Segment]] | None) -> str:
    """The playlist that refers to the others, below the folder `version`."""
    videos = [one for one in renditions if one.track.kind == "video"]
    texts = [one for one in renditions if one.track.kind == "text"]
    groups = audio_groups([one for one in renditions if one.track.kind == "audio"])
    lines = ["#EXT-X-INDEPENDENT-SEGMENTS"]
    for group in groups:
        lines += _sounds(group, version)
    lines += _subtitles(texts, version)
    for group in groups or [Group("", [])]:
        for video in _ordered(videos, _beside(group, texts)):
            lines += [_variant(video, group, texts), f"{version}/{video.playlist}"]
    framed = [one for one in renditions if one.frames]
    lines += [_frames(one, version) for one in sorted(framed, key=lambda one: (one.track.kind, one.average))]
    if images:
        lines.append(_images(*images, version))
    return text(lines)


def _ordered(videos: Sequence[Rendition], beside: int) -> list[Rendition]:
    """The variants by codec and rate, with the one first that players start with.

    `beside` is the average of what plays with them, in bit/s: the rate of a variant includes it.
    """
    ordered = sorted(videos, key=lambda one: (*_preference(one), one.average, one.track.name))
    first = min(ordered, key=lambda one: (*_preference(one), abs(one.average + beside - _DEFAULT_RATE)))
    return [first, *(one for one in ordered if one is not first)]


def _beside(group: Group, texts: Sequence[Rendition]) -> int:
    """The average of the largest sound and the largest text that can play together, in bit/s."""
    return sum(max((one.average for one in some), default=0) for some in (group.renditions, texts))


def _preference(video: Rendition) -> tuple[int, int]:
    """The rank of what most players can show: H.264 before others, SDR before HDR."""
    codec, video_range = video.family
    ranks = ["avc1", "hvc1", "av01"]
    return ranks.index(codec) if codec in ranks else len(ranks), video_range != "SDR"


def _sounds(group: Group, version: str) -> Iterator[str]:
    names = unique_names([one.track for one in group.renditions], "Audio")
    automatic = set[str]()
    for one, name in zip(group.renditions, names, strict=True):
        is_automatic = one.track.language not in automatic
        automatic.add(one.track.language)
        yield _tag(
            "MEDIA",
            TYPE="AUDIO",
            GROUP_ID=quoted(group.name),
            LANGUAGE=quoted(one.track.language),
            NAME=quoted(name),
            DEFAULT=_yes(one is group.default),
            AUTOSELECT=_yes(is_automatic or one is group.default),
            CHANNELS=quoted(str(_channels(one))),
            URI=quoted(f"{version}/{one.playlist}"),
        )


def _channels(one: Rendition) -> int:
    return (one.facts.channels if one.facts else 0) or one.track.channels


def _subtitles(texts: Sequence[Rendition], version: str) -> Iterator[str]:
    names = unique_names([one.track for one in texts], "Subtitles")
    default = next((one for one in texts if one.track.is_default), None)
    for one, name in zip(texts, names, strict=True):
        track = one.track
        yield _tag(
            "MEDIA",
            TYPE="SUBTITLES",
            GROUP_ID=quoted(_SUBTITLES),
            LANGUAGE=quoted(track.language),
            NAME=quoted(name),
            DEFAULT=_yes(one is default),
            AUTOSELECT="YES",
            FORCED=_yes(track.is_forced),
            CHARACTERISTICS=quoted(_SDH) if track.is_sdh else "",
            URI=quoted(f"{version}/{one.playlist}"),
        )


def _variant(video: Rendition, group: Group, texts: Sequence[Rendition]) -> str:
    """A video with a group of sounds. Its bandwidth is that of the largest of each that can play together."""
    facts = video.facts
    sounds = group.renditions
    codecs = list(dict.fromkeys([video.codecs, *(one.codecs for one in sounds)]))
    most = video.peak + sum(max((one.peak for one in some), default=0) for some in (sounds, texts))
    average = video.average + _beside(group, texts)
    return _tag(
        "STREAM-INF",
        BANDWIDTH=str(most),
        AVERAGE_BANDWIDTH=str(average),
        CODECS=quoted(",".join(codecs)),
        RESOLUTION=f"{facts.width}x{facts.height}" if facts else "",
        FRAME_RATE=f"{float(video.rate):.3f}",
        VIDEO_RANGE=video.family[1],
        AUDIO=quoted(group.name) if sounds else "",
        SUBTITLES=quoted(_SUBTITLES) if texts else "",
        CLOSED_CAPTIONS="NONE",
    )


def _frames(video: Rendition, version: str) -> str:
    facts, shown = video.facts, video.frames
    return _tag(
        "I-FRAME-STREAM-INF",
        BANDWIDTH=str(segments.peak(shown, segments.target(shown))),
        AVERAGE_BANDWIDTH=str(segments.average(shown)),
        CODECS=quoted(video.codecs),
        RESOLUTION=f"{facts.width}x{facts.height}" if facts else "",
        VIDEO_RANGE=video.family[1],
        URI=quoted(f"{version}/{video.frame_playlist}"),
    )


def _images(thumbnails: Thumbnails, shown: list[Segment], version: str) -> str:
    return _tag(
        "IMAGE-STREAM-INF",
        BANDWIDTH=str(segments.peak(shown, segments.target(shown))),
        AVERAGE_BANDWIDTH=str(segments.average(shown)),
        CODECS=quoted("jpeg"),
        RESOLUTION=f"{thumbnails.width}x{thumbnails.height}",
        URI=quoted(f"{version}/{IMAGES}"),
    )


def _tag(tag: str, **attributes: str) -> str:
    values = (f"{name.replace('_', '-')}={value}" for name, value in attributes.items() if value)
    return f"#EXT-X-{tag}:{','.join(values)}"


def _yes(condition: bool) -> str:
    return "YES" if condition else "NO"
