"""Rules of RFC 8216bis: playlists by themselves, and their byte ranges and durations against the boxes."""

import itertools
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

from tests.packages.package import Package
from tests.packages.playlists import Playlist, Segment
from tests.packages.rules import Finding, rule
from tests.packages.tracks import Track

MILLISECOND = Fraction(1, 1000)


def plainly(value: Fraction | None, digits: int = 3) -> str:
    """A number for a reader."""
    shown = "missing" if value is None else f"{float(value):.{digits}f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


@rule("files-exist", "RFC 8216bis 4.3")
def files_exist(package: Package) -> Iterator[Finding]:
    """Every playlist and media file that a playlist names exists."""
    names = set(package.named) | {file for playlist in package.playlists.values() for file in playlist.files}
    for name in sorted(names):
        yield Finding(name, "exists" if name in package.sizes else "missing", name in package.sizes)


@rule("hls-syntax", "RFC 8216bis 4.1")
def hls_syntax(package: Package) -> Iterator[Finding]:
    """Every playlist begins with EXTM3U, and each of its lines is a known tag, a comment or a URI."""
    texts = {name: playlist.text for name, playlist in package.playlists.items()}
    if package.master:
        texts[package.master.name] = package.master.text
    for name, text in texts.items():
        bad = [line for line in text.splitlines() if line.startswith("#EXT") and line.partition(":")[0] not in _TAGS]
        passed = text.startswith("#EXTM3U\n") and not bad
        yield Finding(name, f"unknown {bad[0]}" if bad else text.splitlines()[0], passed)


_TAGS = {"#EXTM3U", "#EXTINF"} | {
    f"#EXT-X-{tag}"
    for line in (
        "VERSION TARGETDURATION PLAYLIST-TYPE MAP BYTERANGE ENDLIST MEDIA-SEQUENCE I-FRAMES-ONLY KEY SESSION-KEY MEDIA",
        "STREAM-INF I-FRAME-STREAM-INF INDEPENDENT-SEGMENTS IMAGE-STREAM-INF IMAGES-ONLY TILES DEFINE START",
        "DISCONTINUITY SESSION-DATA BITRATE",
    )
    for tag in line.split()
}


@rule("hls-version", "RFC 8216bis 7")
def hls_version(package: Package) -> Iterator[Finding]:
    """EXT-X-VERSION is at least that of the features in use."""
    for playlist in package.playlists.values():
        needed = max(_needed(playlist))
        yield Finding(playlist.name, f"version {playlist.version}, features need {needed}", playlist.version >= needed)
    if package.master:
        tags = package.master.text
        needed = 7 if "SERVICE" in tags or 'INSTREAM-ID="SERVICE' in tags else 1
        yield Finding(package.master.name, f"version {package.master.version}", package.master.version >= needed)


def _needed(playlist: Playlist) -> Iterator[int]:
    """The versions that features of a playlist need."""
    yield 1
    if any(segment.duration.denominator > 1 for segment in playlist.segments):
        yield 3
    if "#EXT-X-BYTERANGE" in playlist.text or playlist.is_iframes:
        yield 4
    if playlist.maps:
        yield 5 if playlist.is_iframes else 6
    if any(segment.method.startswith("SAMPLE-AES") or segment.key_format for segment in playlist.segments):
        yield 5
    if any(segment.iv for segment in playlist.segments):
        yield 2


@rule("target-covers", "RFC 8216bis 4.4.3.1")
def target_covers(package: Package) -> Iterator[Finding]:
    """Each EXTINF, rounded to an integer, is at most the target duration."""
    for playlist in package.playlists.values():
        longest = max((segment.duration for segment in playlist.segments), default=Fraction(0))
        passed = int(longest + Fraction(1, 2)) <= playlist.target
        yield Finding(playlist.name, f"longest {plainly(longest)} s, target {playlist.target} s", passed)


@rule("playlist-ends", "RFC 8216bis 4.4.3.4")
def playlist_ends(package: Package) -> Iterator[Finding]:
    """Every playlist ends with EXT-X-ENDLIST."""
    for playlist in package.playlists.values():
        yield Finding(playlist.name, "ended" if playlist.is_ended else "open", playlist.is_ended)


@rule("map-is-init", "RFC 8216bis 4.4.4.5")
def map_is_init(package: Package) -> Iterator[Finding]:
    """EXT-X-MAP is one range, from the start of the file to the end of moov."""
    for playlist, track in [*package.media, *((playlist, track) for _, playlist, track in package.iframes)]:
        place = playlist.maps[0]
        passed = len(playlist.maps) == 1 and (place.start, place.end) == (0, track.media_start)
        yield Finding(playlist.name, f"{place.start} to {place.end}, moov ends at {track.media_start}", passed)


@rule("ranges-tile", "RFC 8216bis 4.4.4.2")
def ranges_tile(package: Package) -> Iterator[Finding]:
    """Byte ranges of segments follow one another without a hole, and end with the file."""
    for playlist, track in package.media:
        places = [segment.range for segment in playlist.segments]
        gaps = [later.start for before, later in itertools.pairwise(places) if before.end != later.start]
        end = places[-1].end or 0
        passed = not gaps and end == len(track.data)
        yield Finding(
            playlist.name, f"hole before {gaps[0]}" if gaps else f"ends at {end} of {len(track.data)}", passed
        )


@rule("ranges-are-index", "CMAF 7.3.2, RFC 8216bis 4.4.4.2")
def ranges_are_index(package: Package) -> Iterator[Finding]:
    """Byte ranges of segments are those of the sidx, so that HLS and DASH play the same segments."""
    for playlist, track in package.media:
        written = [(segment.range.start, segment.range.end) for segment in playlist.segments]
        indexed = subsegments(track)
        different = [number for number, pair in enumerate(zip(written, indexed, strict=False)) if pair[0] != pair[1]]
        passed = len(written) == len(indexed) and not different
        shown = f"segment {different[0]} differs" if different else f"{len(written)} segments, {len(indexed)} in sidx"
        yield Finding(playlist.name, shown, passed)


def subsegments(track: Track) -> list[tuple[int, int]]:
    """Byte ranges of the subsegments in a track's sidx."""
    found, at = [], track.index.first if track.index else 0
    for reference in track.index.references if track.index else []:
        found.append((at, at + reference.size))
        at += reference.size
    return found


def span(track: Track, segment: Segment) -> tuple[Fraction, Fraction] | None:
    """Where the samples of a segment begin and end; None where it holds none."""
    samples = track.samples_in(segment.range.start, segment.range.end or len(track.data))
    return track.span(samples) if samples else None


@rule("extinf-is-samples", "Apple 8.1, RFC 8216bis 4.4.4.1")
def extinf_is_samples(package: Package) -> Iterator[Finding]:
    """Each EXTINF is the duration of the samples in its byte range, to a millisecond."""
    for playlist, track in package.media:
        worst, place = Fraction(0), 0
        for number, segment in enumerate(playlist.segments):
            times = span(track, segment)
            error = abs(times[1] - times[0] - segment.duration) if times else segment.duration
            if error > worst:
                worst, place = error, number
        yield Finding(playlist.name, f"off by {plainly(worst, 6)} s in segment {place}", worst <= MILLISECOND)


@rule("index-is-samples", "ISO/IEC 14496-12 8.16.3")
def index_is_samples(package: Package) -> Iterator[Finding]:
    """Durations and the first time in sidx are those of the samples, to the tick."""
    for track in package.tracks.values():
        if track.index is None:
            yield Finding(track.name, "no sidx", False)
            continue
        wrong, at = "", track.seconds(track.index.earliest)
        for number, ((start, end), shown) in enumerate(zip(subsegments(track), track.index.references, strict=True)):
            samples = track.samples_in(start, end)
            later = at + Fraction(shown.duration, track.index.timescale)
            if not wrong and (not samples or track.span(samples) != (at, later)):
                wrong = f"subsegment {number} is {plainly(later - at, 6)} s"
            at = later
        yield Finding(track.name, wrong or f"{len(track.index.references)} subsegments, {plainly(at)} s", not wrong)


@rule("groups-exist", "RFC 8216bis 4.4.6.2")
def groups_exist(package: Package) -> Iterator[Finding]:
    """Every group that a variant names has renditions, and every group is named by a variant."""
    if package.master:
        groups = {rendition.group for rendition in package.master.renditions}
        named = {
            (kind, variant.attributes[kind])
            for variant in package.master.variants
            for kind in ("AUDIO", "SUBTITLES", "VIDEO", "CLOSED-CAPTIONS")
            if variant.attributes.get(kind, "NONE") != "NONE"
        }
        lacking, unused = sorted(named - groups), sorted(groups - named)
        shown = f"missing {lacking[0]}" if lacking else f"unused {unused[0]}" if unused else f"{len(groups)} groups"
        yield Finding(package.master.name, shown, not lacking and not unused)


@rule("names-unique", "RFC 8216bis 4.4.6.1.1")
def names_unique(package: Package) -> Iterator[Finding]:
    """NAME is present and unique within its group."""
    if package.master:
        counts = Counter((rendition.group, rendition.attributes.get("NAME")) for rendition in package.master.renditions)
        for (group, name), count in counts.items():
            yield Finding("/".join(group), f"{name} {count}x", count == 1 and bool(name))


@rule("one-default", "RFC 8216bis 4.4.6.1.1")
def one_default(package: Package) -> Iterator[Finding]:
    """A group has at most one DEFAULT=YES; a group of audio has exactly one."""
    if package.master:
        for group in dict.fromkeys(rendition.group for rendition in package.master.renditions):
            members = [one for one in package.master.renditions if one.group == group]
            count = sum(one.attributes.get("DEFAULT") == "YES" for one in members)
            yield Finding("/".join(group), f"{count} defaults", count == 1 if group[0] == "AUDIO" else count <= 1)


@rule("default-is-autoselect", "RFC 8216bis 4.4.6.1")
def default_is_autoselect(package: Package) -> Iterator[Finding]:
    """A rendition with DEFAULT=YES has no AUTOSELECT=NO."""
    for rendition in package.master.renditions if package.master else []:
        if rendition.attributes.get("DEFAULT") == "YES":
            value = rendition.attributes.get("AUTOSELECT", "absent")
            yield Finding(rendition.label, f"AUTOSELECT {value}", value != "NO")


@rule("autoselect-distinct", "RFC 8216bis 4.4.6.1.1", "SHOULD")
def autoselect_distinct(package: Package) -> Iterator[Finding]:
    """Renditions of a group with AUTOSELECT=YES differ in LANGUAGE, ASSOC-LANGUAGE, FORCED or CHARACTERISTICS."""
    names = ("LANGUAGE", "ASSOC-LANGUAGE", "FORCED", "CHARACTERISTICS")
    chosen = [
        one
        for one in (package.master.renditions if package.master else [])
        if one.attributes.get("AUTOSELECT") == "YES"
    ]
    keys = [(one.group, *(one.attributes.get(name, "") for name in names)) for one in chosen]
    for rendition, key in zip(chosen, keys, strict=True):
        yield Finding(rendition.label, " ".join(str(part) for part in key[1:] if part), keys.count(key) == 1)


@rule("forced-is-subtitles", "RFC 8216bis 4.4.6.1")
def forced_is_subtitles(package: Package) -> Iterator[Finding]:
    """FORCED stands at subtitles only."""
    for rendition in package.master.renditions if package.master else []:
        if "FORCED" in rendition.attributes:
            yield Finding(
                rendition.label, f"FORCED={rendition.attributes['FORCED']}", rendition.group[0] == "SUBTITLES"
            )


@rule("groups-alike", "RFC 8216bis 4.4.6.1.1")
def groups_alike(package: Package) -> Iterator[Finding]:
    """Groups of one type have the same members, which differ in URI, CHANNELS and encoding only."""
    ignored = {"URI", "CHANNELS", "GROUP-ID", "BIT-DEPTH", "SAMPLE-RATE", "STABLE-RENDITION-ID"}
    groups: dict[tuple[str, str], list[list[tuple[str, str]]]] = {}
    for rendition in package.master.renditions if package.master else []:
        shown = sorted((name, value) for name, value in rendition.attributes.items() if name not in ignored)
        groups.setdefault(rendition.group, []).append(shown)
    for group, members in groups.items():
        first = next(others for (kind, _), others in groups.items() if kind == group[0])
        yield Finding("/".join(group), f"{len(members)} members", sorted(members) == sorted(first))


@rule("channels", "RFC 8216bis 4.4.6.1")
def channels(package: Package) -> Iterator[Finding]:
    """CHANNELS is the number of channels of the audio."""
    for rendition in package.master.of_kind("AUDIO") if package.master else []:
        if track := package.track(package.playlist(rendition)):
            written = rendition.attributes.get("CHANNELS", "missing")
            yield Finding(
                rendition.label, f"{written}, audio has {track.channels}", written.split("/")[0] == str(track.channels)
            )


@rule("no-captions-agree", "RFC 8216bis 4.4.6.2")
def no_captions_agree(package: Package) -> Iterator[Finding]:
    """CLOSED-CAPTIONS=NONE stands at all variants or at none."""
    if package.master:
        values = [variant.attributes.get("CLOSED-CAPTIONS") == "NONE" for variant in package.master.variants]
        yield Finding(package.master.name, f"{sum(values)} of {len(values)}", sum(values) in (0, len(values)))
