"""Rules of Apple's HLS authoring specification, section 1: codecs, levels, colour, HDR, rates and shapes of video."""

from collections.abc import Iterator
from fractions import Fraction

from tests.packages import codecs
from tests.packages.cmaf import main_video, video_tracks
from tests.packages.hls import plainly
from tests.packages.package import Package
from tests.packages.playlists import Variant
from tests.packages.rules import Finding, rule
from tests.packages.tracks import Track

NATURAL = (*map(Fraction, (24, 25, 30, 50, 60)), *(Fraction(1000 * rate, 1001) for rate in (24, 30, 60)))
_H264_HIGH, _H264_ALLOWED = 100, (66, 77, 88, 100)


@rule("video-codec", "Apple 1.1, 1.2, 1.5")
def video_codec(package: Package) -> Iterator[Finding]:
    """Video is H.264, HEVC or AV1, in fragmented MP4."""
    for track in video_tracks(package):
        kind = codecs.entry_kind(track.entry)
        passed = kind in ("avc1", "avc3", "hvc1", "hev1", "av01") and bool(track.fragments)
        yield Finding(track.name, f"{kind}, {len(track.fragments)} fragments", passed)


@rule("parameter-sets-in-entry", "Apple 1.10", "SHOULD")
def parameter_sets_in_entry(package: Package) -> Iterator[Finding]:
    """Sample entries are avc1 or hvc1, not avc3 or hev1."""
    for track in video_tracks(package):
        kind = codecs.entry_kind(track.entry)
        yield Finding(track.name, kind, kind not in ("avc3", "hev1"))


@rule("level", "Apple 1.3b, 1.6b, 1.37")
def level(package: Package) -> Iterator[Finding]:
    """H.264 is at most High 5.2, HEVC at most Main 10 5.1, AV1 at most level 6.2."""
    for track in video_tracks(package):
        kind = codecs.entry_kind(track.entry)
        parts = track.codec.split(".")
        if kind in ("avc1", "avc3"):
            profile, high = int(parts[1][:2], 16), int(parts[1][4:], 16)
            passed = profile in _H264_ALLOWED and high <= 52
        elif kind in ("hvc1", "hev1"):
            passed = parts[1] in ("1", "2") and int(parts[3][1:]) <= 153
        else:
            passed = kind == "av01" and int(parts[2][:2]) <= 18
        yield Finding(track.name, track.codec, passed)


@rule("h264-high", "Apple 1.4", "SHOULD")
def h264_high(package: Package) -> Iterator[Finding]:
    """H.264 uses High profile."""
    for track in video_tracks(package):
        if codecs.entry_kind(track.entry) in ("avc1", "avc3"):
            profile = int(track.codec.split(".")[1][:2], 16)
            yield Finding(track.name, f"profile {profile}", profile == _H264_HIGH)


@rule("some-compatible", "Apple 1.3a, 1.6a, 1.12", "SHOULD")
def some_compatible(package: Package) -> Iterator[Finding]:
    """Of H.264 some rung is at most level 4.1, of HEVC at most Main 10, 4.0, Main tier."""
    for name, kinds, best in (("H.264", ("avc1", "avc3"), 41), ("HEVC", ("hvc1", "hev1"), 120)):
        levels = [_level(track) for track in main_video(package) if codecs.entry_kind(track.entry) in kinds]
        if levels:
            yield Finding(name, f"lowest level {min(levels)}", min(levels) <= best)


def _level(track: Track) -> int:
    """The level of H.264 or HEVC as the codec string counts it; high tiers count as above all levels."""
    parts = track.codec.split(".")
    if parts[0] in ("avc1", "avc3"):
        return int(parts[1][4:], 16)
    return int(parts[3][1:]) + (1000 if parts[3][0] == "H" else 0)


@rule("natural-rate", "Apple 1.18, 1.19", "SHOULD")
def natural_rate(package: Package) -> Iterator[Finding]:
    """The rate is 23.976, 24, 25, 29.97, 30, 50, 59.94 or 60 Hz, or half of one in the lower rungs."""
    for track in main_video(package):
        rate = track.frame_rate
        passed = any(abs(rate / one - 1) < Fraction(1, 10**4) for natural in NATURAL for one in (natural, natural / 2))
        yield Finding(track.name, f"{plainly(rate)} Hz", passed)


@rule("rate-at-most-60", "Apple 1.19")
def rate_at_most_60(package: Package) -> Iterator[Finding]:
    """No rung has more than 60 pictures per second."""
    for track in main_video(package):
        yield Finding(track.name, f"{plainly(track.frame_rate)} Hz", track.frame_rate <= 60)


@rule("progressive", "Apple 1.14")
def progressive(package: Package) -> Iterator[Finding]:
    """Video is progressive."""
    for track in video_tracks(package):
        order = track.probe.get("field_order", "progressive")
        yield Finding(track.name, order, order in ("progressive", "unknown"))


@rule("one-colour-space", "Apple 1.21", "SHOULD")
def one_colour_space(package: Package) -> Iterator[Finding]:
    """Variants of one dynamic range share one colour space, which is named."""
    spaces: dict[str, set[str]] = {}
    for track in main_video(package):
        space = "/".join(
            str(track.bitstream.get(f"color_{name}", "none")) for name in ("primaries", "transfer", "space")
        )
        spaces.setdefault(track.video_range, set()).add(space)
    for shown, found in spaces.items():
        yield Finding(
            shown,
            ", ".join(sorted(found)),
            len(found) == 1 and not any("none" in one or "unknown" in one for one in found),
        )


@rule("hdr-is-10-bit", "Apple 1.7")
def hdr_is_10_bit(package: Package) -> Iterator[Finding]:
    """PQ and HLG have 10 bits and the primaries of BT.2020."""
    for track in video_tracks(package):
        if track.video_range != "SDR":
            depth, primaries = str(track.probe.get("pix_fmt")), track.bitstream.get("color_primaries")
            yield Finding(track.name, f"{depth}, {primaries}", "10" in depth and primaries == "bt2020")


def _hdr10(package: Package) -> Iterator[tuple[Track, set[str], set[str]]]:
    """The tracks of HDR10 with the metadata in their sample entry and in their first sample."""
    for track in main_video(package):
        if track.video_range == "PQ":
            first = next(track.samples)
            kind, size = codecs.entry_kind(track.entry), codecs.nal_length_size(track.entry)
            yield (track, *codecs.hdr10_messages(kind, track.entry, track.bytes_of(first), size))


@rule("hdr10-metadata", "Apple 1.35", "SHOULD")
def hdr10_metadata(package: Package) -> Iterator[Finding]:
    """HDR10 carries mastering display colour volume and content light level."""
    for track, entry, sample in _hdr10(package):
        yield Finding(track.name, ", ".join(sorted(entry | sample)) or "none", len(entry | sample) == 2)


@rule("hdr10-in-entry", "Apple 1.8", "SHOULD")
def hdr10_in_entry(package: Package) -> Iterator[Finding]:
    """HDR10 metadata of HEVC lies in the sample entry."""
    for track, entry, _ in _hdr10(package):
        if codecs.entry_kind(track.entry) == "av01":
            continue
        yield Finding(track.name, ", ".join(sorted(entry)) or "none", len(entry) == 2)


@rule("sdr-beside-hdr", "Apple 1.24")
def sdr_beside_hdr(package: Package) -> Iterator[Finding]:
    """A package with HDR variants has SDR variants too."""
    ranges = {track.video_range for track in main_video(package)}
    yield Finding("variants", ", ".join(sorted(ranges)) or "none", not ranges or "SDR" in ranges)


@rule("hdr-at-30", "Apple 1.20", "SHOULD")
def hdr_at_30(package: Package) -> Iterator[Finding]:
    """Of HDR some variant has at most 30 pictures per second."""
    rates = [track.frame_rate for track in main_video(package) if track.video_range != "SDR"]
    if rates:
        yield Finding("HDR variants", f"lowest {plainly(min(rates))} Hz", min(rates) <= 30)


@rule("same-shape", "Apple 1.33", "SHOULD")
def same_shape(package: Package) -> Iterator[Finding]:
    """All variants have one aspect ratio, within what even sizes allow."""
    shapes = [(track, Fraction(*track.size) * track.shape) for track in main_video(package)]
    for track, shape in shapes:
        top = max(shapes, key=lambda pair: pair[0].size)[1]
        width, height = track.size
        slack = Fraction(2, height) + Fraction(2, width)
        yield Finding(track.name, f"{width}x{height}", abs(shape / top - 1) <= slack)


@rule("uhd-at-15-mbit", "Apple 1.34", "SHOULD")
def uhd_at_15_mbit(package: Package) -> Iterator[Finding]:
    """Of UHD some variant takes at most 15 Mbit/s."""
    big = [one for one, _, _ in package.variants if _short_side(one.attributes.get("RESOLUTION", "0x0")) > 1080]
    rates = [variant.number("BANDWIDTH") or 0 for variant in big]
    if rates:
        yield Finding("UHD variants", f"lowest {plainly(Fraction(min(rates)))} bit/s", min(rates) <= 15_000_000)


def _group(variant: Variant, track: Track) -> tuple[str, str, str]:
    """What variants share among which a player changes: the group of audio, the codec, the dynamic range."""
    return variant.attributes.get("AUDIO", ""), track.codec.split(".")[0], track.video_range


def _short_side(resolution: str) -> int:
    """The shorter side of a RESOLUTION."""
    return min(int(part) for part in resolution.split("x"))


@rule("default-at-2000-kbit", "Apple 1.32", "SHOULD")
def default_near_two_megabit(package: Package) -> Iterator[Finding]:
    """The first variant is the nearest to 2000 kbit/s on average, of those like it in audio, codec and range."""
    shown = [(_group(variant, track), variant.number("AVERAGE-BANDWIDTH")) for variant, _, track in package.variants]
    rates = [rate for group, rate in shown if rate and group == shown[0][0]]
    if shown and all(rate for _, rate in shown):
        nearest = min(rates, key=lambda rate: abs(rate - 2_000_000))
        yield Finding(
            "first variant", f"{plainly(rates[0], 0)} bit/s, nearest {plainly(nearest, 0)}", rates[0] == nearest
        )


@rule("two-at-the-top", "Apple 9.10", "SHOULD")
def two_at_the_top(package: Package) -> Iterator[Finding]:
    """HD content has at least two variants at the highest size."""
    sizes = [track.size for _, _, track in package.variants]
    if sizes and min(max(sizes)) >= 720:
        yield Finding("variants", f"{sizes.count(max(sizes))} at {max(sizes)}", sizes.count(max(sizes)) >= 2)
