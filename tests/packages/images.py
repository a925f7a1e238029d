"""Rules of pictures for scrubbing: image playlists of HLS and thumbnails of DASH against the JPEG files."""

import struct
from collections.abc import Iterator
from fractions import Fraction

from tests.packages.hls import plainly
from tests.packages.package import Package
from tests.packages.playlists import attribute_list
from tests.packages.rules import Finding, rule


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height of a JPEG, by its frame header; (0, 0) where there is none."""
    at = 2
    while data[:2] == b"\xff\xd8" and at + 9 < len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], struct.unpack_from(">H", data, at + 2)[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 + length
    return 0, 0


@rule("image-playlists", "Image Media Playlist 1.0")
def image_playlists(package: Package) -> Iterator[Finding]:
    """RESOLUTION times LAYOUT of an image playlist is the size of each JPEG, and all last as long as the content."""
    longest = package.duration
    for variant in package.master.images if package.master else []:
        playlist = package.playlist(variant)
        if playlist is None or not playlist.tiles or not playlist.segments:
            yield Finding(variant.playlist, "no playlist with EXT-X-TILES", False)
            continue
        tiles = attribute_list(playlist.tiles[0])
        width, height = (int(part) for part in tiles["RESOLUTION"].split("x"))
        columns, rows = (int(part) for part in tiles["LAYOUT"].split("x"))
        sizes = {
            jpeg_size(package.read(one.range.file)) for one in playlist.segments if one.range.file in package.sizes
        }
        each, content = Fraction(tiles["DURATION"]), columns * rows
        enough = len(playlist.segments) == -(-longest // (each * content))
        passed = (
            sizes == {(width * columns, height * rows)} and variant.attributes.get("RESOLUTION") == tiles["RESOLUTION"]
        )
        shown = f"{tiles['RESOLUTION']} in {tiles['LAYOUT']}, JPEG {sorted(sizes)}, {len(playlist.segments)} pictures"
        yield Finding(variant.playlist, shown, passed and enough and playlist.duration >= longest - Fraction(1, 10))


@rule("mpd-thumbnails", "DASH-IF IOP 6.2.6")
def mpd_thumbnails(package: Package) -> Iterator[Finding]:
    """Thumbnails of the MPD have the geometry of the JPEG files, and reach to the end."""
    for shown in package.manifest.representations if package.manifest else []:
        if shown.kind == "image":
            (columns, rows), count = shown.tiles
            written = (int(shown.inherited("width") or 0), int(shown.inherited("height") or 0))
            sizes = {jpeg_size(package.read(name)) for name in shown.files if name in package.sizes}
            passed = sizes == {written} and not written[0] % columns and not written[1] % rows and count > 0
            each = Fraction(shown.template.duration) / (shown.template.timescale or 1)
            yield Finding(
                shown.id, f"{columns}x{rows} in {written}, JPEG {sorted(sizes)}, {count} of {plainly(each)} s", passed
            )
