"""Rules of Apple's specification, sections 2, 4, 5 and 6: audio, accessibility, subtitles and trick play."""

from collections.abc import Iterator
from fractions import Fraction

from tests.packages.apple_lists import is_stereo_aac
from tests.packages.hls import MILLISECOND, plainly
from tests.packages.package import Package
from tests.packages.rules import Finding, rule
from tests.packages.webvtt import faults

SDH = {"public.accessibility.transcribes-spoken-dialog", "public.accessibility.describes-music-and-sound"}


@rule("stereo-aac", "Apple 2.3")
def stereo_aac(package: Package) -> Iterator[Finding]:
    """A package with audio has AAC of at most two channels."""
    if package.audio:
        shown = sorted({f"{track.codec} {track.channels}ch" for _, track in package.audio})
        yield Finding("audio", ", ".join(shown), any(is_stereo_aac(track) for _, track in package.audio))


@rule("audio-codec", "Apple 2.2, 2.5, 2.24")
def audio_codec(package: Package) -> Iterator[Finding]:
    """Audio is AAC, Dolby Digital (Plus), FLAC or Opus, one stream to a segment."""
    for _, track in package.audio:
        passed = track.codec in ("mp4a.40.2", "mp4a.40.5", "mp4a.40.29", "mp4a.40.42", "ac-3", "ec-3", "fLaC", "Opus")
        yield Finding(track.name, track.codec, passed)


@rule("stereo-rate", "Apple 2.4, 2.9", "SHOULD")
def stereo_rate(package: Package) -> Iterator[Finding]:
    """AAC of stereo takes 32 to 160 kbit/s, of 5.1 about 320 (at most 400)."""
    for playlist, track in package.audio:
        rate = playlist.rates(package.sizes)[0] / 1000
        most = 176 if track.channels <= 2 else 440
        yield Finding(track.name, f"{plainly(rate, 0)} kbit/s, {track.channels} channels", rate <= most)


@rule("loudness-box", "Apple 2.19", "SHOULD")
def loudness_box(package: Package) -> Iterator[Finding]:
    """A track of audio has a ludt box with its loudness."""
    for _, track in package.audio:
        present = any(box.kind == "ludt" for udta in track.trak.every("udta") for box in udta.children)
        yield Finding(track.name, "ludt" if present else "none", present)


@rule("sdh-marked", "Apple 4.5")
def sdh_marked(package: Package) -> Iterator[Finding]:
    """Subtitles for the deaf have both characteristics, not one alone."""
    for rendition in package.master.of_kind("SUBTITLES") if package.master else []:
        written = set(filter(None, rendition.attributes.get("CHARACTERISTICS", "").split(",")))
        if written & SDH or "SDH" in rendition.attributes.get("NAME", ""):
            yield Finding(rendition.label, ",".join(sorted(written)) or "none", written >= SDH)


@rule("sdh-autoselect", "Apple 4.6")
def sdh_autoselect(package: Package) -> Iterator[Finding]:
    """Subtitles for the deaf have AUTOSELECT=YES."""
    for rendition in package.master.of_kind("SUBTITLES") if package.master else []:
        if set(rendition.attributes.get("CHARACTERISTICS", "").split(",")) & SDH:
            value = rendition.attributes.get("AUTOSELECT", "absent")
            yield Finding(rendition.label, value, value == "YES")


@rule("forced-autoselect", "Apple 5.11", "SHOULD")
def forced_autoselect(package: Package) -> Iterator[Finding]:
    """Forced subtitles have AUTOSELECT=YES."""
    for rendition in package.master.of_kind("SUBTITLES") if package.master else []:
        if rendition.attributes.get("FORCED") == "YES":
            value = rendition.attributes.get("AUTOSELECT", "absent")
            yield Finding(rendition.label, value, value == "YES")


@rule("subtitles-cover", "Apple 5.5, 8.7")
def subtitles_cover(package: Package) -> Iterator[Finding]:
    """A playlist of subtitles covers the whole content."""
    longest = package.duration
    slack = max((track.frame for _, track in package.media), default=MILLISECOND)
    for rendition in package.master.of_kind("SUBTITLES") if package.master else []:
        if playlist := package.playlist(rendition):
            shown = f"{plainly(playlist.duration)} of {plainly(longest)} s"
            yield Finding(rendition.label, shown, abs(playlist.duration - longest) <= slack)


@rule("webvtt-valid", "Apple 5.2, 5.3; WebVTT 4")
def webvtt_valid(package: Package) -> Iterator[Finding]:
    """Subtitles are valid WebVTT in text files: signature, times in order and within the content, no text left over."""
    longest = package.duration
    for name in text_files(package):
        bad = faults(package.text(name), longest)
        yield Finding(name, bad[0] if bad else "valid", not bad)


@rule("timestamp-map", "Apple 5.3", "MUST")
def timestamp_map(package: Package) -> Iterator[Finding]:
    """A WebVTT file of HLS maps its times by X-TIMESTAMP-MAP, here to the start."""
    for name in text_files(package):
        header = package.text(name).lstrip("\ufeff").split("\n\n")[0]
        lines = [line for line in header.splitlines() if line.startswith("X-TIMESTAMP-MAP=")]
        passed = len(lines) == 1 and "LOCAL:00:00:00.000" in lines[0] and "MPEGTS:0" in lines[0]
        yield Finding(name, lines[0] if lines else "none", passed)


def text_files(package: Package) -> list[str]:
    """The WebVTT files that playlists name and that exist."""
    items = package.master.of_kind("SUBTITLES") if package.master else []
    playlists = [playlist for item in items if (playlist := package.playlist(item))]
    names = [segment.range.file for playlist in playlists for segment in playlist.segments]
    return [name for name in dict.fromkeys(names) if name.endswith(".vtt") and name in package.sizes]


@rule("iframes-present", "Apple 6.1, 6.16")
def iframes_present(package: Package) -> Iterator[Finding]:
    """A package with video has I-frame playlists, in SDR at least."""
    if package.master and package.video:
        ranges = sorted({track.video_range for _, _, track in package.iframes})
        yield Finding(package.master.name, f"{len(package.iframes)} I-frame playlists {ranges}", "SDR" in ranges)


@rule("iframes-several", "Apple 6.6", "SHOULD")
def iframes_several(package: Package) -> Iterator[Finding]:
    """There are several I-frame playlists, where there are several variants."""
    if package.master and len(package.variants) > 1:
        yield Finding(package.master.name, f"{len(package.iframes)}", len(package.iframes) > 1)


@rule("iframes-dense", "Apple 6.2", "SHOULD")
def iframes_dense(package: Package) -> Iterator[Finding]:
    """An I-frame playlist has one picture per second."""
    if package.iframes:
        densest = max(len(playlist.segments) / playlist.duration for _, playlist, _ in package.iframes)
        yield Finding("densest", f"{plainly(densest, 2)} pictures per second", densest >= Fraction(9, 10))


@rule("iframes-codec", "Apple 6.13 (AirPlay 2)", "MUST")
def iframes_codec(package: Package) -> Iterator[Finding]:
    """Each codec of a variant of video has an I-frame playlist."""
    kinds = {track.codec.split(".")[0] for _, _, track in package.variants if track.kind == "video"}
    shown = {track.codec.split(".")[0] for _, _, track in package.iframes}
    if package.iframes:
        yield Finding("I-frame playlists", f"{sorted(shown)} of {sorted(kinds)}", kinds <= shown)


@rule("iframes-tag", "Apple 6.8")
def iframes_tag(package: Package) -> Iterator[Finding]:
    """I-frame playlists have EXT-X-I-FRAMES-ONLY, and no other playlist has."""
    named = {variant.playlist for variant in package.master.iframes} if package.master else set()
    for playlist in package.playlists.values():
        shown = "I-frames only" if playlist.is_iframes else "all frames"
        yield Finding(playlist.name, shown, playlist.is_iframes == (playlist.name in named))


@rule("iframes-ranges", "Apple 6.10, RFC 8216bis 4.4.3.6")
def iframes_ranges(package: Package) -> Iterator[Finding]:
    """A range of an I-frame playlist begins with a moof and ends with its first sample, which is an IDR picture."""
    for _, playlist, track in package.iframes:
        keys = {sample.offset for sample in track.random_access}
        places = {one.start: one for one in track.fragments}
        bad = ""
        for number, segment in enumerate(playlist.segments):
            fragment = places.get(segment.range.start)
            if fragment is None:
                bad = bad or f"range {number} begins at {segment.range.start}, which is no moof"
                continue
            first = fragment.samples[0]
            if segment.range.end != first.offset + first.size:
                bad = (
                    bad
                    or f"range {number} ends at {segment.range.end}, its first sample at {first.offset + first.size}"
                )
            if first.offset not in keys:
                bad = bad or f"range {number} holds no IDR"
        yield Finding(playlist.name, bad or f"{len(playlist.segments)} pictures", not bad)


@rule("iframes-complete", "RFC 8216bis 4.4.3.6; Apple 6.3")
def iframes_complete(package: Package) -> Iterator[Finding]:
    """An I-frame playlist has every GOP of its track, each once and in order."""
    for _, playlist, track in package.iframes:
        starts = [segment.range.start for segment in playlist.segments]
        keys = {sample.offset for sample in track.random_access}
        wanted = [one.start for one in track.fragments if any(sample.offset in keys for sample in one.samples)]
        yield Finding(
            playlist.name, f"{len(starts)} of {len(keys)} GOPs", starts == wanted and len(keys) == len(starts)
        )


@rule("iframes-times", "RFC 8216bis 4.4.3.6")
def iframes_times(package: Package) -> Iterator[Finding]:
    """EXTINF of an I-frame playlist lasts to the next picture, or to the end, to a millisecond for each."""
    for _, playlist, track in package.iframes:
        keys = [track.time(sample.presentation) for sample in track.random_access]
        ends = [*keys[1:], track.span(track.samples)[1]]
        wanted = [end - start for start, end in zip(keys, ends, strict=False)]
        errors = [abs(one.duration - other) for one, other in zip(playlist.segments, wanted, strict=False)]
        worst = max(errors, default=Fraction(0))
        yield Finding(playlist.name, f"off by {plainly(worst, 6)} s", worst <= MILLISECOND)
