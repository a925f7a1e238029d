"""Rules of Apple's specification, sections 7 to 9: lengths, targets, and what variants and renditions declare."""

from collections.abc import Iterator
from fractions import Fraction

from tests.packages.cmaf import main_video
from tests.packages.hls import plainly
from tests.packages.package import Package
from tests.packages.playlists import Playlist, Variant
from tests.packages.rules import Finding, rule
from tests.packages.tracks import Track

WITHIN, ALLOWED = Fraction(1, 100), Fraction(1, 10)
"""What we demand of declared rates, and what Apple allows."""
_HALF = Fraction(1, 2)


@rule("target-6-s", "Apple 7.5", "SHOULD")
def target_six(package: Package) -> Iterator[Finding]:
    """The target duration is 6 seconds, or 7 where a segment of whole GOPs lasts 6.5 or more."""
    for playlist, _ in package.media:
        longest = max(segment.duration for segment in playlist.segments)
        passed = playlist.target == (6 if longest < Fraction(13, 2) else 7)
        yield Finding(playlist.name, f"{playlist.target} s", passed)


@rule("segments-6-s", "Apple 7.6", "SHOULD")
def segments_six(package: Package) -> Iterator[Finding]:
    """Every segment but the last lasts nominally 6 seconds: within half a GOP."""
    for playlist, _ in package.media:
        lengths = [segment.duration for segment in playlist.segments[:-1]]
        worst = max((abs(length - 6) for length in lengths), default=Fraction(0))
        yield Finding(playlist.name, f"off by {plainly(worst)} s", worst <= _HALF)


@rule("segments-within-target", "Apple 7.7")
def segments_within_target(package: Package) -> Iterator[Finding]:
    """No segment is longer than the target duration by more than 0.5 s, by its samples."""
    for playlist, track in package.media:
        spans = [track.samples_in(one.range.start, one.range.end or len(track.data)) for one in playlist.segments]
        longest = max(
            (track.span(samples)[1] - track.span(samples)[0] for samples in spans if samples), default=Fraction(0)
        )
        yield Finding(
            playlist.name,
            f"longest {plainly(longest)} s, target {playlist.target} s",
            longest <= playlist.target + _HALF,
        )


@rule("extinf-sum", "Apple 8.1")
def extinf_sum(package: Package) -> Iterator[Finding]:
    """The sum of EXTINF of any contiguous segments is within one video picture of the content."""
    frame = max((track.frame for track in main_video(package)), default=None)
    for playlist, track in package.media:
        drift, low, high = Fraction(0), Fraction(0), Fraction(0)
        for segment in playlist.segments:
            samples = track.samples_in(segment.range.start, segment.range.end or len(track.data))
            start, end = track.span(samples) if samples else (Fraction(0), Fraction(0))
            drift += segment.duration - (end - start)
            low, high = min(low, drift), max(high, drift)
        yield Finding(playlist.name, f"drifts by {plainly(high - low, 6)} s", high - low <= (frame or track.frame))


@rule("same-target", "Apple 8.2")
def same_target(package: Package) -> Iterator[Finding]:
    """Playlists of audio and video have one target duration."""
    targets = {playlist.target for playlist, _ in package.media}
    for playlist, _ in package.media:
        yield Finding(playlist.name, f"{playlist.target} s of {sorted(targets)}", len(targets) == 1)


@rule("same-duration", "Apple 8.3, 8.7")
def same_duration(package: Package) -> Iterator[Finding]:
    """Playlists of audio and video have one duration by their EXTINF, within one frame of audio or picture."""
    longest = max((playlist.duration for playlist, _ in package.media), default=Fraction(0))
    slack = max((track.frame for _, track in package.media), default=Fraction(0))
    for playlist, _ in package.media:
        difference = longest - playlist.duration
        yield Finding(playlist.name, f"{plainly(playlist.duration, 6)} s", difference <= slack)


@rule("type-vod", "Apple 8.6")
def type_vod(package: Package) -> Iterator[Finding]:
    """Every playlist has EXT-X-PLAYLIST-TYPE VOD."""
    for playlist in package.playlists.values():
        yield Finding(playlist.name, playlist.type or "none", playlist.type == "VOD")


@rule("language-everywhere", "Apple 4.7, 8.10, 2.27")
def language_everywhere(package: Package) -> Iterator[Finding]:
    """LANGUAGE stands at every rendition of audio, subtitles or captions."""
    for rendition in package.master.renditions if package.master else []:
        if rendition.group[0] != "VIDEO":
            language = rendition.attributes.get("LANGUAGE", "")
            yield Finding(rendition.label, language or "missing", bool(language))


@rule("map-present", "Apple 8.20")
def map_present(package: Package) -> Iterator[Finding]:
    """Playlists of fragmented MP4 have EXT-X-MAP."""
    for playlist in package.playlists.values():
        if any(segment.range.file.endswith((".mp4", ".m4s", ".cmfv", ".cmfa")) for segment in playlist.segments):
            yield Finding(playlist.name, f"{len(playlist.maps)} maps", bool(playlist.maps))


@rule("independent-segments", "Apple 9.11, 9.12")
def independent_segments(package: Package) -> Iterator[Finding]:
    """EXT-X-INDEPENDENT-SEGMENTS stands in the master playlist, or in every playlist of video."""
    if package.master:
        everywhere = all(playlist.is_independent for playlist, _ in package.video)
        shown = "in master" if package.master.is_independent else "in playlists" if everywhere else "missing"
        yield Finding(package.master.name, shown, package.master.is_independent or everywhere)


@rule("several-variants", "Apple 9.9")
def several_variants(package: Package) -> Iterator[Finding]:
    """There are several bit rates of video, unless the source has only the size of the lowest rung."""
    if package.master and package.video:
        tracks = main_video(package)
        lowest = min(min(track.size) for track in tracks) <= 360
        yield Finding(package.master.name, f"{len(package.variants)} variants", len(tracks) > 1 or lowest)


@rule("codecs-present", "Apple 9.1, 9.3")
def codecs_present(package: Package) -> Iterator[Finding]:
    """CODECS stands at every variant and I-frame variant."""
    yield from _present(package, "CODECS", iframes=True)


@rule("resolution-present", "Apple 9.2, 9.4")
def resolution_present(package: Package) -> Iterator[Finding]:
    """RESOLUTION stands at every variant with video and at every I-frame variant."""
    yield from _present(package, "RESOLUTION", iframes=True)


@rule("average-present", "Apple 9.14")
def average_present(package: Package) -> Iterator[Finding]:
    """AVERAGE-BANDWIDTH stands at every variant."""
    yield from _present(package, "AVERAGE-BANDWIDTH", iframes=False)


@rule("frame-rate-present", "Apple 9.15")
def frame_rate_present(package: Package) -> Iterator[Finding]:
    """FRAME-RATE stands at every variant with video."""
    yield from _present(package, "FRAME-RATE", iframes=False)


def _present(package: Package, name: str, *, iframes: bool) -> Iterator[Finding]:
    """Whether the variants have an attribute."""
    for variant, _, track in [*package.variants, *(package.iframes if iframes else [])]:
        if track.kind == "video" or name in ("CODECS", "AVERAGE-BANDWIDTH"):
            yield Finding(variant.playlist, variant.attributes.get(name, "missing"), name in variant.attributes)


@rule("codecs-are-bitstreams", "Apple 9.1, 9.3")
def codecs_are_bitstreams(package: Package) -> Iterator[Finding]:
    """CODECS lists the codec of each bitstream that plays, as its configuration box gives it, and no other."""
    for variant, _, track in [*package.variants, *package.iframes]:
        if "CODECS" in variant.attributes:
            wanted = {track.codec}
            if not variant.is_iframes:
                members = package.members("AUDIO", variant.attributes.get("AUDIO", ""))
                wanted |= {found.codec for _, playlist in members if (found := package.track(playlist))}
            written = {_without_colour(codec) for codec in variant.codecs} - {"wvtt"}
            yield Finding(variant.playlist, f"{sorted(written)}, bitstreams {sorted(wanted)}", written == wanted)


def _without_colour(codec: str) -> str:
    """A codec string; of AV1 its four mandatory parts, as the others may be left out."""
    return ".".join(codec.split(".")[:4]) if codec.startswith("av01") else codec


@rule("resolution-is-size", "Apple 9.2, 9.4")
def resolution_is_size(package: Package) -> Iterator[Finding]:
    """RESOLUTION is the size of the pictures."""
    for variant, _, track in [*package.variants, *package.iframes]:
        if "RESOLUTION" in variant.attributes:
            size = f"{track.size[0]}x{track.size[1]}"
            yield Finding(
                variant.playlist,
                f"{variant.attributes['RESOLUTION']}, pictures {size}",
                variant.attributes["RESOLUTION"] == size,
            )


@rule("frame-rate-is-rate", "Apple 9.15")
def frame_rate_is_rate(package: Package) -> Iterator[Finding]:
    """FRAME-RATE is the rate of the pictures, to three decimals."""
    for variant, _, track in package.variants:
        if track.kind == "video" and (written := variant.number("FRAME-RATE")) is not None:
            shown = f"{plainly(written)} Hz, pictures {plainly(track.frame_rate)}"
            yield Finding(variant.playlist, shown, abs(written - track.frame_rate) <= Fraction(1, 1000))


@rule("video-range", "Apple 9.16")
def video_range(package: Package) -> Iterator[Finding]:
    """VIDEO-RANGE is that of the bitstream; it may be missing only where all is SDR."""
    every = [*package.variants, *package.iframes]
    all_sdr = all(track.video_range == "SDR" for _, _, track in every)
    for variant, _, track in every:
        written = variant.attributes.get("VIDEO-RANGE", "SDR" if all_sdr else "missing")
        yield Finding(variant.playlist, f"{written}, bitstream {track.video_range}", written == track.video_range)


def measured(package: Package, variant: Variant, playlist: Playlist) -> tuple[Fraction, Fraction]:
    """Average and peak bit/s of the largest playable combination: video, and of each group its largest rendition."""
    average, peak = playlist.rates(package.sizes)
    for kind in ("AUDIO", "SUBTITLES"):
        rates = [
            found.rates(package.sizes)
            for _, found in package.members(kind, variant.attributes.get(kind, ""))
            if found.segments
        ]
        average += max((one for one, _ in rates), default=Fraction(0))
        peak += max((one for _, one in rates), default=Fraction(0))
    return average, peak


@rule("bandwidth-measured", "Apple 9.13, 1.27; 1 % is ours")
def bandwidth_measured(package: Package) -> Iterator[Finding]:
    """BANDWIDTH is the largest sum of measured peaks of any playable combination, within 1 %."""
    yield from _rates(package, "BANDWIDTH", WITHIN)


@rule("average-measured", "Apple 1.26; 1 % is ours")
def average_measured(package: Package) -> Iterator[Finding]:
    """AVERAGE-BANDWIDTH is the largest sum of measured averages of any playable combination, within 1 %."""
    yield from _rates(package, "AVERAGE-BANDWIDTH", WITHIN)


def _rates(package: Package, name: str, within: Fraction) -> Iterator[Finding]:
    """A declared rate of each variant and I-frame variant beside the measured one."""
    for variant, playlist, _ in [*package.variants, *package.iframes]:
        if (written := variant.number(name)) is not None and playlist.segments:
            average, peak = measured(package, variant, playlist)
            value = peak if name == "BANDWIDTH" else average
            shown = f"{written} bit/s, measured {plainly(value, 0)} ({plainly(100 * (written / value - 1), 2)} %)"
            yield Finding(variant.playlist, shown, abs(written / value - 1) <= within)


@rule("peak-at-most-double", "Apple 1.30", "SHOULD")
def peak_at_most_double(package: Package) -> Iterator[Finding]:
    """The peak of a variant is at most 200 % of its average."""
    for variant, playlist, _ in package.variants:
        average, peak = playlist.rates(package.sizes)
        yield Finding(variant.playlist, f"{plainly(100 * peak / average, 0)} %", peak <= 2 * average)


@rule("video-apart", "Apple 9.5, 9.6, 9.7")
def video_apart(package: Package) -> Iterator[Finding]:
    """Audio is apart from video: each variant of a package with audio names a group of audio."""
    for variant, _, track in package.variants:
        if package.audio and track.kind == "video":
            group = variant.attributes.get("AUDIO", "none")
            yield Finding(variant.playlist, group, group != "none")


@rule("each-track-shown", "Apple 8.9")
def each_track_shown(package: Package) -> Iterator[Finding]:
    """Every rendition of audio or subtitles has a playlist of its own kind."""
    for rendition in package.master.renditions if package.master else []:
        playlist = package.playlist(rendition)
        track = package.track(playlist)
        if playlist and playlist.is_ciphertext:
            continue
        kind = track.kind if track else "text" if playlist and playlist.segments else "none"
        yield Finding(
            rendition.label, kind, kind == {"AUDIO": "audio", "SUBTITLES": "text"}.get(rendition.group[0], kind)
        )


def is_stereo_aac(track: Track) -> bool:
    """Whether a track is AAC of one or two channels."""
    return track.codec in ("mp4a.40.2", "mp4a.40.5", "mp4a.40.29") and track.channels <= 2
