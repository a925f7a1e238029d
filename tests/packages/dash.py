"""Rules of DASH for the on-demand profile (ISO/IEC 23009-1, DASH-IF IOP): the manifest against the tracks."""

import re
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

from tests.packages.hls import plainly, subsegments
from tests.packages.manifest import Representation, seconds
from tests.packages.package import Package
from tests.packages.rules import Finding, rule
from tests.packages.tracks import Track

ON_DEMAND = {"urn:mpeg:dash:profile:isoff-on-demand:2011", "urn:mpeg:dash:profile:cmaf:2019"}
ROLE = "urn:mpeg:dash:role:2011"
_ROLES = {
    "caption",
    "subtitle",
    "main",
    "alternate",
    "supplementary",
    "commentary",
    "dub",
    "description",
    "sign",
    "metadata",
    "enhanced-audio-intelligibility",
    "emergency",
    "forced-subtitle",
    "easyreader",
    "karaoke",
}
_TRANSFER = "urn:mpeg:mpegB:cicp:TransferCharacteristics"


def shown_tracks(package: Package) -> list[tuple[Representation, Track]]:
    """The representations of MP4 with their tracks."""
    items = package.manifest.representations if package.manifest else []
    return [(one, package.tracks[one.file]) for one in items if one.file in package.tracks]


@rule("mpd-profile", "DASH 8.3; DASH-IF IOP 3.2")
def mpd_profile(package: Package) -> Iterator[Finding]:
    """The MPD is static, names the on-demand or CMAF profile, and states minBufferTime."""
    if package.manifest:
        mpd = package.manifest.mpd
        profiles = set(str(mpd.profiles or "").replace(" ", "").split(","))
        passed = bool(profiles & ON_DEMAND) and mpd.type == "static" and bool(mpd.min_buffer_time)
        yield Finding("manifest.mpd", f"{mpd.type}, {', '.join(sorted(profiles))}, {mpd.min_buffer_time}", passed)


@rule("mpd-files", "DASH 5.6")
def mpd_files(package: Package) -> Iterator[Finding]:
    """Every file that the MPD names exists."""
    for shown in package.manifest.representations if package.manifest else []:
        missing = [name for name in shown.files if name not in package.sizes]
        passed = bool(shown.files) and not missing
        yield Finding(shown.id, f"missing {missing[0]}" if missing else f"{len(shown.files)} files", passed)


@rule("mpd-duration", "DASH 5.3.1.2")
def mpd_duration(package: Package) -> Iterator[Finding]:
    """mediaPresentationDuration is that of the longest track, to a millisecond."""
    if package.manifest:
        longest = max((track.duration for _, track in shown_tracks(package)), default=Fraction(0))
        written = package.manifest.duration
        shown = f"{plainly(written, 6)} s, longest track {plainly(longest, 6)}"
        yield Finding("manifest.mpd", shown, abs(written - longest) <= Fraction(1, 1000))


@rule("mpd-index-range", "DASH 5.3.9.2.2")
def mpd_index_range(package: Package) -> Iterator[Finding]:
    """SegmentBase@indexRange is the place of the sidx box, and its timescale that of sidx."""
    for shown, track in shown_tracks(package):
        place = (track.index.start, track.index.end) if track.index else None
        scale = track.index.timescale if track.index else 0
        passed = shown.index_range == place and shown.timescale == scale
        yield Finding(shown.id, f"{shown.index_range} at {shown.timescale}, sidx {place} at {scale}", passed)


@rule("mpd-init-range", "DASH 5.3.9.2.2")
def mpd_init_range(package: Package) -> Iterator[Finding]:
    """Initialization@range is the start of the file to the end of moov."""
    for shown, track in shown_tracks(package):
        yield Finding(
            shown.id,
            f"{shown.init_range}, moov ends at {track.media_start}",
            shown.init_range == (0, track.media_start),
        )


def lateness(track: Track, rate: Fraction, buffer: Fraction) -> Fraction:
    """By how many seconds the latest sample comes too late, in a channel of `rate` bit/s; below zero where none does.

    DASH 5.3.5.2: whichever segment a client starts with, and plays `buffer` seconds after the first bit, each sample
    has come when its decode time is reached.
    """
    starts = {start for start, _ in subsegments(track)}
    sent, time, earliest, worst = Fraction(0), Fraction(0), Fraction(0), -buffer
    for fragment in track.fragments:
        if fragment.start in starts:
            earliest = max(earliest, time - sent / rate) if sent else Fraction(0)
        header = 8 * (fragment.moof.end + 8 - fragment.start)
        sent += header
        for sample in fragment.samples:
            sent += 8 * sample.size
            worst = max(worst, sent / rate - time + earliest - buffer)
            time += track.seconds(sample.duration)
    return worst


@rule("mpd-bandwidth", "DASH 5.3.5.2")
def mpd_bandwidth(package: Package) -> Iterator[Finding]:
    """At @bandwidth no sample comes late, from each segment on after minBufferTime."""
    buffer = seconds(str(package.manifest.mpd.min_buffer_time or "PT0S")) if package.manifest else Fraction(0)
    for shown, track in shown_tracks(package):
        late = lateness(track, Fraction(shown.node.bandwidth or 1), buffer)
        yield Finding(shown.id, f"{shown.node.bandwidth} bit/s, latest sample {plainly(late)} s late", late <= 0)


@rule("mpd-bandwidth-near", "DASH 5.3.5.2", "SHOULD")
def mpd_bandwidth_near(package: Package) -> Iterator[Finding]:
    """@bandwidth is at most 10 % above the peak of segments, so that clients do not stay below what they can play."""
    for shown, track in shown_tracks(package):
        places = [(end - start, track.span(track.samples_in(start, end))) for start, end in subsegments(track)]
        peak = max((8 * size / (times[1] - times[0]) for size, times in places), default=Fraction(1))
        written = Fraction(shown.node.bandwidth or 0)
        yield Finding(shown.id, f"{written} bit/s, peak {plainly(peak, 0)}", written <= peak * Fraction(11, 10))


@rule("mpd-codecs", "DASH 5.3.7.2")
def mpd_codecs(package: Package) -> Iterator[Finding]:
    """@codecs is the codec of the configuration box, and @mimeType that of the track."""
    for shown, track in shown_tracks(package):
        written = str(shown.inherited("codecs") or "missing")
        mandatory = ".".join(written.split(".")[:4]) if written.startswith("av01") else written
        mime = str(shown.inherited("mime_type"))
        passed = mandatory == track.codec and mime == f"{track.kind}/mp4"
        yield Finding(shown.id, f"{written} {mime}, track {track.codec}", passed)


@rule("mpd-size", "DASH 5.3.7.2")
def mpd_size(package: Package) -> Iterator[Finding]:
    """@width, @height and @sar are those of the pictures."""
    for shown, track in shown_tracks(package):
        if track.kind == "video":
            written = (int(shown.inherited("width") or 0), int(shown.inherited("height") or 0))
            shape = Fraction(str(shown.inherited("sar") or "1:1").replace(":", "/"))
            yield Finding(
                shown.id,
                f"{written} sar {shape}, pictures {track.size} sar {track.shape}",
                written == track.size and shape == track.shape,
            )


@rule("mpd-frame-rate", "DASH 5.3.7.2")
def mpd_frame_rate(package: Package) -> Iterator[Finding]:
    """@frameRate is the rate of the pictures."""
    for shown, track in shown_tracks(package):
        if track.kind == "video":
            written = str(shown.inherited("frame_rate") or "0")
            passed = abs(Fraction(written) / track.frame_rate - 1) < Fraction(1, 10000)
            yield Finding(shown.id, f"{written}, pictures {plainly(track.frame_rate)}", passed)


@rule("mpd-audio", "DASH 5.3.7.2, 5.8.5.4")
def mpd_audio(package: Package) -> Iterator[Finding]:
    """@audioSamplingRate and AudioChannelConfiguration are those of the audio."""
    for shown, track in shown_tracks(package):
        if track.kind == "audio":
            rate = str(shown.inherited("audio_sampling_rate"))
            values = [one.value for one in shown.properties("audio_channel_configurations")]
            passed = rate == track.probe["sample_rate"] and str(track.channels) in values
            yield Finding(
                shown.id, f"{rate} Hz {values}, audio {track.probe['sample_rate']} Hz {track.channels}", passed
            )


@rule("mpd-subsegments", "DASH 8.3.3, 8.4.3")
def mpd_subsegments(package: Package) -> Iterator[Finding]:
    """A set of video or audio has subsegmentAlignment, and states that subsegments start with a SAP of type 1 or 2."""
    for chosen, members in package.manifest.sets() if package.manifest else []:
        if any(one.file in package.tracks for one in members):
            aligned = str(chosen.subsegment_alignment).lower()
            sap = str(chosen.subsegment_starts_with_sap or "missing")
            passed = aligned == "true" and sap in ("1", "2")
            yield Finding(f"set of {members[0].id}", f"alignment {aligned}, SAP {sap}", passed)


@rule("mpd-aligned", "DASH 5.3.3.2")
def mpd_aligned(package: Package) -> Iterator[Finding]:
    """Subsegments of the representations of a set have equal boundaries, by their sidx."""
    for _, members in package.manifest.sets() if package.manifest else []:
        times = [_times(package.tracks[one.file]) for one in members if one.file in package.tracks]
        slack = Fraction(1, 1000) if times and members[0].kind == "audio" else Fraction(0)
        for one, found in zip(members, times, strict=False):
            worst = max((abs(a - b) for a, b in zip(found, times[0], strict=False)), default=Fraction(0))
            yield Finding(
                one.id,
                f"{len(found)} boundaries, off by {plainly(worst, 6)} s",
                len(found) == len(times[0]) and worst <= slack,
            )


def _times(track: Track) -> list[Fraction]:
    """Where the subsegments of a track begin and the last ends, in seconds, by its sidx."""
    if track.index is None:
        return []
    found = [Fraction(track.index.earliest, track.index.timescale)]
    for reference in track.index.references:
        found.append(found[-1] + Fraction(reference.duration, track.index.timescale))
    return found


@rule("mpd-one-kind", "DASH 5.3.3.1; DASH-IF IOP 3.2.4")
def mpd_one_kind(package: Package) -> Iterator[Finding]:
    """Representations of a set have one kind, codec, language and dynamic range."""
    for _, members in package.manifest.sets() if package.manifest else []:
        tracks = [package.tracks[one.file] for one in members if one.file in package.tracks]
        kinds = {
            (track.kind, track.codec.split(".")[0], track.video_range if track.kind == "video" else "")
            for track in tracks
        }
        languages = {str(one.inherited("lang")) for one in members}
        yield Finding(
            f"set of {members[0].id}", f"{sorted(kinds)} {sorted(languages)}", len(kinds) <= 1 and len(languages) == 1
        )


@rule("mpd-language", "DASH-IF IOP 3.4.3")
def mpd_language(package: Package) -> Iterator[Finding]:
    """Sets of audio and text have @lang."""
    for chosen, members in package.manifest.sets() if package.manifest else []:
        if members[0].kind in ("audio", "text"):
            yield Finding(f"set of {members[0].id}", str(chosen.lang or "missing"), bool(chosen.lang))


@rule("mpd-roles", "DASH 5.8.5.5; DASH-IF IOP 3.4.2")
def mpd_roles(package: Package) -> Iterator[Finding]:
    """Roles are of the DASH scheme; of several sets of audio, one has the role main."""
    audio = []
    for _, members in package.manifest.sets() if package.manifest else []:
        roles = [one for one in members[0].properties("roles") if one.scheme == ROLE]
        bad = [one.value for one in roles if one.value not in _ROLES]
        yield Finding(f"set of {members[0].id}", ", ".join(one.value for one in roles) or "none", not bad)
        if members[0].kind == "audio":
            audio.append({one.value for one in roles})
    if len(audio) > 1:
        yield Finding(
            "audio", f"{sum('main' in roles for roles in audio)} main", any("main" in roles for roles in audio)
        )


@rule("mpd-ids", "DASH 5.3.5.2")
def mpd_ids(package: Package) -> Iterator[Finding]:
    """Ids of representations are unique and have no white space."""
    counts = Counter(shown.id for shown in (package.manifest.representations if package.manifest else []))
    for name, count in counts.items():
        yield Finding(name, f"{count}x", count == 1 and bool(re.fullmatch(r"\S+", name)))


@rule("mpd-is-hls", "CMAF hybrid packages")
def mpd_is_hls(package: Package) -> Iterator[Finding]:
    """HLS and DASH offer the same tracks of video and audio."""
    if package.master and package.manifest:
        hls = {track.name for _, track in package.media}
        dash = {track.name for _, track in shown_tracks(package)} - {
            track.name for _, _, track in package.iframes if track.name not in hls
        }
        different = sorted(hls ^ dash)
        yield Finding(
            "manifest.mpd", f"{different[0]} is in one alone" if different else f"{len(hls)} tracks", not different
        )


@rule("mpd-transfer", "DASH-IF IOP 10.3, DASH 5.8.4.8")
def mpd_transfer(package: Package) -> Iterator[Finding]:
    """A set of PQ or HLG names its transfer characteristics."""
    for shown, track in shown_tracks(package):
        if track.kind == "video" and track.video_range != "SDR":
            wanted = {"PQ": "16", "HLG": "18"}[track.video_range]
            properties = [*shown.properties("essential_properties"), *shown.properties("supplemental_properties")]
            values = [one.value for one in properties if one.scheme == _TRANSFER]
            yield Finding(shown.id, f"{values}, bitstream {wanted}", wanted in values)


@rule("mpd-protection", "DASH-IF IOP 7.5, ISO/IEC 23001-7 11.2")
def mpd_protection(package: Package) -> Iterator[Finding]:
    """ContentProtection names the scheme and default_KID of tenc, and stands at encrypted tracks only."""
    for shown, track in shown_tracks(package):
        nodes = [*(shown.node.content_protections or []), *(shown.set.content_protections or [])]
        common = [one for one in nodes if one.scheme_id_uri == "urn:mpeg:dash:mp4protection:2011"]
        found = [(one.value, str(one.cenc_default_kid or "").replace("-", "").lower()) for one in common]
        held = track.protection
        wanted = [(held.scheme, held.key_id.hex())] if held else []
        yield Finding(shown.id, f"{found}, track {wanted}", found[:1] == wanted)
