"""The playlists of HLS: one for each track, one of key frames for each video, and one of the sprites."""

from collections.abc import Iterator, Sequence
from fractions import Fraction

from worker.packaging.rendition import Rendition
from worker.packaging.segments import Segment, target
from worker.packaging.tracks import Encrypted, Thumbnails

_VERSION = 7
IMAGES = "sprites.m3u8"


def text(lines: Sequence[str]) -> str:
    """A playlist of these lines."""
    return "".join(f"{line}\n" for line in ("#EXTM3U", f"#EXT-X-VERSION:{_VERSION}", *lines))


def quoted(value: str) -> str:
    """A quoted string of HLS, which cannot hold quotes, controls or line breaks."""
    return '"' + "".join("'" if char == '"' else char if char.isprintable() else " " for char in value) + '"'


def media_playlist(rendition: Rendition, encryption: Encrypted | None, version: str) -> str:
    """The playlist of a sound or a video."""
    return text(
        [
            f"#EXT-X-TARGETDURATION:{rendition.target}",
            "#EXT-X-MEDIA-SEQUENCE:0",
            "#EXT-X-PLAYLIST-TYPE:VOD",
            "#EXT-X-INDEPENDENT-SEGMENTS",
            *_head(rendition, encryption, version),
            *_ranges(rendition.segments, rendition.file),
        ]
    )


def frame_playlist(rendition: Rendition, encryption: Encrypted | None, version: str) -> str:
    """The playlist of a video's key frames."""
    return text(
        [
            f"#EXT-X-TARGETDURATION:{target(rendition.frames)}",
            "#EXT-X-MEDIA-SEQUENCE:0",
            "#EXT-X-PLAYLIST-TYPE:VOD",
            "#EXT-X-I-FRAMES-ONLY",
            *_head(rendition, encryption, version),
            *_ranges(rendition.frames, rendition.file),
        ]
    )


def text_playlist(rendition: Rendition) -> str:
    """The playlist of a WebVTT file, which is one segment."""
    (whole,) = rendition.segments
    return text(
        [
            f"#EXT-X-TARGETDURATION:{rendition.target}",
            "#EXT-X-MEDIA-SEQUENCE:0",
            "#EXT-X-PLAYLIST-TYPE:VOD",
            f"#EXTINF:{_seconds(whole.seconds)},",
            rendition.file,
            "#EXT-X-ENDLIST",
        ]
    )


def sheets(thumbnails: Thumbnails, seconds: Fraction) -> list[Segment]:
    """The sprites as segments; the last ends with the film. Sprites that begin after its end are left out."""
    each = Fraction(thumbnails.seconds) * thumbnails.columns * thumbnails.rows
    return [
        Segment(0, path.stat().st_size, min(each, seconds - number * each))
        for number, path in enumerate(thumbnails.files)
        if number * each < seconds
    ]


def image_playlist(thumbnails: Thumbnails, shown: Sequence[Segment], names: Sequence[str]) -> str:
    """The playlist of the sprites, as Roku and others have added it to HLS."""
    size = f"{thumbnails.width}x{thumbnails.height}"
    layout = f"{thumbnails.columns}x{thumbnails.rows}"
    lines = [
        f"#EXT-X-TARGETDURATION:{target(shown)}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-IMAGES-ONLY",
    ]
    tiles = f"#EXT-X-TILES:RESOLUTION={size},LAYOUT={layout},DURATION={_seconds(Fraction(thumbnails.seconds))}"
    for segment, name in zip(shown, names, strict=False):
        lines += [f"#EXTINF:{_seconds(segment.seconds)},", tiles, name]
    return text([*lines, "#EXT-X-ENDLIST"])


def _head(rendition: Rendition, encryption: Encrypted | None, version: str) -> list[str]:
    """The initialization section, which is never encrypted, and the key of the segments behind it."""
    lines = [f'#EXT-X-MAP:URI="{rendition.file}",BYTERANGE="{rendition.init}@0"']
    if not encryption:
        return lines
    if encryption.scheme == "aes-128":
        return [*lines, f"#EXT-X-KEY:METHOD=AES-128,URI={quoted(encryption.key_uri)}"]
    key = f"URI={quoted(encryption.key_uri)},IV=0x{encryption.vector(version).hex()}"
    return [*lines, f'#EXT-X-KEY:METHOD=SAMPLE-AES,{key},KEYFORMAT="identity",KEYFORMATVERSIONS="1"']


def _ranges(ranges: Sequence[Segment], file: str) -> Iterator[str]:
    for part in ranges:
        yield f"#EXTINF:{_seconds(part.seconds)},"
        yield f"#EXT-X-BYTERANGE:{part.size}@{part.offset}"
        yield file
    yield "#EXT-X-ENDLIST"


def _seconds(seconds: Fraction) -> str:
    return f"{float(seconds):.6f}"
