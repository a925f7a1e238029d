"""Rules about the media itself: boxes, times and pictures of tracks, and their alignment (CMAF, Apple 1 and 7)."""

import itertools
from collections.abc import Iterator
from fractions import Fraction

from tests.packages import codecs
from tests.packages.boxes import edits
from tests.packages.hls import plainly, span, subsegments
from tests.packages.package import Package
from tests.packages.rules import Finding, rule
from tests.packages.tracks import Track


def video_tracks(package: Package) -> list[Track]:
    """The tracks of video."""
    return [track for track in package.tracks.values() if track.kind == "video"]


def main_video(package: Package) -> list[Track]:
    """The tracks of video that variants and representations play, without those of I-frame playlists alone."""
    trick = {track.name for _, _, track in package.iframes} - {track.name for _, track in package.video}
    return [track for track in video_tracks(package) if track.name not in trick]


@rule("boxes-tile", "ISO/IEC 14496-12 4.2, CMAF 7.3")
def boxes_tile(package: Package) -> Iterator[Finding]:
    """A track is ftyp, moov, sidx and then pairs of moof and mdat, whose samples fill the mdat."""
    for track in package.tracks.values():
        kinds = [box.kind for box in track.boxes]
        rest = kinds[3:]
        passed = (
            kinds[:3] == ["ftyp", "moov", "sidx"]
            and rest[::2] == ["moof"] * len(rest[::2])
            and rest[1::2] == ["mdat"] * len(rest[::2])
        )
        loose = 0
        for fragment in track.fragments:
            covered = sum(sample.size for sample in fragment.samples)
            inside = all(
                fragment.moof.end + 8 <= one.offset and one.offset + one.size <= fragment.end
                for one in fragment.samples
            )
            loose += not inside or covered != fragment.end - fragment.moof.end - 8
        yield Finding(track.name, f"{' '.join(kinds[:5])}…, {loose} mdat not filled", passed and not loose)


@rule("decode-times-continue", "Apple 7.1, 7.3; CMAF 7.3.2.2")
def decode_times_continue(package: Package) -> Iterator[Finding]:
    """Each tfdt is the decode time after the previous fragment: no gap, no overlap; sequence numbers rise."""
    for track in package.tracks.values():
        worst, place, at = 0, 0, track.fragments[0].decode
        for number, fragment in enumerate(track.fragments):
            if abs(fragment.decode - at) > abs(worst):
                worst, place = fragment.decode - at, number
            at = fragment.decode + fragment.duration
        yield Finding(track.name, f"off by {worst} ticks at fragment {place}" if worst else "0 ticks", worst == 0)


@rule("starts-at-zero", "CMAF 7.5.10, Apple 7.1")
def starts_at_zero(package: Package) -> Iterator[Finding]:
    """The presentation of each track starts at zero: its edit list cuts off priming and reordering, no more."""
    for track in package.tracks.values():
        first = track.time(min(sample.presentation for sample in track.samples))
        usual = Fraction(-2112 if track.kind == "audio" else 0, 1) / (track.timescale if track.kind == "audio" else 1)
        passed = first == 0 if track.kind == "video" else usual - track.frame <= first <= 0
        yield Finding(track.name, f"first sample at {plainly(first, 6)} s", passed)


@rule("one-edit", "CMAF 7.5.13")
def one_edit(package: Package) -> Iterator[Finding]:
    """An edit list has one edit, which plays the media to its end without a delay."""
    for track in package.tracks.values():
        entries = edits(track.trak)
        passed = len(entries) <= 1 and all(edit.media >= 0 for edit in entries)
        yield Finding(track.name, f"{[edit.media for edit in entries]}", passed)


@rule("segments-start-with-idr", "Apple 7.4")
def segments_start_with_idr(package: Package) -> Iterator[Finding]:
    """Every video segment starts with an IDR picture, or in AV1 with a shown key frame."""
    for playlist, track in package.video:
        keys = {sample.offset for sample in track.random_access}
        firsts = [track.samples_in(one.range.start, one.range.end or 0)[:1] for one in playlist.segments]
        bad = [number for number, first in enumerate(firsts) if not first or first[0].offset not in keys]
        yield Finding(playlist.name, f"segment {bad[0]} does not" if bad else f"{len(firsts)} segments", not bad)


@rule("idr-every-2-s", "Apple 1.13", "SHOULD")
def idr_every_two_seconds(package: Package) -> Iterator[Finding]:
    """An IDR picture comes at least every two seconds, give or take half a picture of the rate."""
    for track in main_video(package):
        times = [track.time(sample.presentation) for sample in track.random_access] + [track.span(track.samples)[1]]
        longest = max((later - before for before, later in itertools.pairwise(times)), default=track.duration)
        yield Finding(track.name, f"{plainly(longest)} s", longest <= 2 + track.frame / 2)


@rule("gops-closed", "CMAF 7.3.2.3, Apple 7.4")
def gops_closed(package: Package) -> Iterator[Finding]:
    """Every picture marked as a sync sample is an IDR, and no later picture in decode order is shown before it."""
    for track in video_tracks(package):
        keys = {sample.offset for sample in track.random_access}
        samples = list(track.samples)
        unclean = [one for one in samples if one.is_sync and one.offset not in keys]
        last_key, crossing = samples[0].presentation, 0
        for sample in samples:
            if sample.offset in keys or sample.is_sync:
                last_key = sample.presentation
            crossing += sample.presentation < last_key
        shown = f"{len(unclean)} sync samples are no IDR, {crossing} pictures cross"
        yield Finding(track.name, shown, not unclean and not crossing)


@rule("idr-marked-sync", "ISO/IEC 14496-12 8.8.3.1")
def idr_marked_sync(package: Package) -> Iterator[Finding]:
    """Every IDR picture is marked as a sync sample."""
    for track in video_tracks(package):
        unmarked = [sample for sample in track.random_access if not sample.is_sync]
        yield Finding(track.name, f"{len(unmarked)} of {len(track.random_access)} unmarked", not unmarked)


@rule("idr-aligned", "Apple 8.22, CMAF 7.3.4.1")
def idr_aligned(package: Package) -> Iterator[Finding]:
    """IDR pictures of all rungs have equal times, exactly."""
    tracks = main_video(package)
    wanted = [tracks[0].time(sample.presentation) for sample in tracks[0].random_access] if tracks else []
    for track in tracks:
        times = [track.time(sample.presentation) for sample in track.random_access]
        different = sorted(set(times) ^ set(wanted))
        shown = f"differs from {tracks[0].name} at {plainly(different[0], 6)} s" if different else f"{len(times)} IDR"
        yield Finding(track.name, shown, not different)


@rule("segments-aligned", "Apple 8.22", "SHOULD")
def segments_aligned(package: Package) -> Iterator[Finding]:
    """Segments of video have equal boundaries, exactly; those of audio are within one frame of them."""
    wanted: list[Fraction] = []
    for playlist, track in [*package.video, *package.audio]:
        spans = [span(track, segment) for segment in playlist.segments]
        starts = [times[0] for times in spans if times]
        wanted = wanted or starts
        slack = track.frame if track.kind == "audio" else Fraction(0)
        differences = [abs(one - other) for one, other in zip(starts, wanted, strict=False)]
        worst = max(differences, default=Fraction(0))
        passed = worst <= slack and len(starts) == len(wanted)
        yield Finding(playlist.name, f"{len(starts)} of {len(wanted)} segments, off by {plainly(worst, 6)} s", passed)


@rule("fragments-are-gops", "CMAF 7.3.2.3", "SHOULD")
def fragments_are_gops(package: Package) -> Iterator[Finding]:
    """Each video fragment is one GOP, so that an I-frame playlist can address every IDR."""
    for track in main_video(package):
        keys = {sample.offset for sample in track.random_access}
        counts = [sum(sample.offset in keys for sample in fragment.samples) for fragment in track.fragments]
        firsts = sum(fragment.samples[0].offset in keys for fragment in track.fragments)
        passed = set(counts) == {1} and firsts == len(counts)
        yield Finding(track.name, f"{len(counts)} fragments, {sum(counts)} IDR", passed)


@rule("rate-constant", "Apple 8.14")
def rate_constant(package: Package) -> Iterator[Finding]:
    """Pictures follow at one rate: equal durations, and times that rise by them."""
    for track in main_video(package):
        times = sorted(sample.presentation for sample in track.samples)
        steps = {later - before for before, later in itertools.pairwise(times)} | {
            one.duration for one in track.samples
        }
        yield Finding(track.name, f"steps of {sorted(steps)} of {track.timescale} ticks", len(steps) == 1)


@rule("rates-divide", "Apple 1.18, 1.31")
def rates_divide(package: Package) -> Iterator[Finding]:
    """The rate of each rung is that of the fastest or half of it; they last equally long."""
    tracks = main_video(package)
    top = max((track.frame_rate for track in tracks), default=Fraction(1))
    for track in tracks:
        shown = f"{plainly(track.frame_rate)} Hz, {plainly(track.duration, 6)} s"
        longest = max(one.duration for one in tracks)
        slack = 1 / top if any(one.frame_rate != top for one in tracks) else Fraction(0)
        yield Finding(track.name, shown, top / track.frame_rate in (1, 2) and longest - track.duration <= slack)


@rule("tracks-equally-long", "Apple 8.3, 8.7")
def tracks_equally_long(package: Package) -> Iterator[Finding]:
    """Audio ends with the video, within a frame of audio or a picture, whichever lasts longer."""
    longest = max((track.duration for track in main_video(package)), default=None)
    for _, track in package.audio:
        if longest is not None:
            slack = max(track.frame, *(one.frame for one in main_video(package)))
            difference = track.duration - longest
            yield Finding(track.name, f"{plainly(difference, 6)} s beside video", abs(difference) <= slack)


@rule("colour-box-is-bitstream", "CMAF 9.2.2", "SHOULD")
def colour_box_is_bitstream(package: Package) -> Iterator[Finding]:
    """A colr box says what the bitstream says."""
    for track in video_tracks(package):
        box = track.entry.first("colr")
        if box is None or box.payload[:4] != b"nclx":
            continue
        found = tuple(int.from_bytes(box.payload[at : at + 2]) for at in (4, 6, 8))
        wanted = codecs.colour_numbers(track.bitstream)
        yield Finding(
            track.name,
            f"colr {found}, bitstream {wanted}",
            all(one in (None, two) for one, two in zip(wanted, found, strict=True)),
        )


@rule("square-pixels", "Apple 9.2", "SHOULD")
def square_pixels(package: Package) -> Iterator[Finding]:
    """Pixels are square, so that RESOLUTION gives the shape of the picture."""
    for track in main_video(package):
        yield Finding(track.name, f"{track.shape}", track.shape == 1)


@rule("index-tiles", "ISO/IEC 14496-12 8.16.3")
def index_tiles(package: Package) -> Iterator[Finding]:
    """Subsegments of sidx start behind it, follow fragments and end with the file; each starts with a SAP."""
    for track in package.tracks.values():
        places = subsegments(track)
        starts = {fragment.start for fragment in track.fragments}
        passed = (
            bool(places)
            and places[0][0] == (track.index.end if track.index else 0)
            and places[-1][1] == len(track.data)
        )
        passed = passed and all(start in starts for start, _ in places)
        saps = {(one.starts_with_sap, one.sap_type) for one in (track.index.references if track.index else [])}
        passed = passed and saps <= {(True, 1), (True, 2)}
        yield Finding(
            track.name,
            f"{len(places)} subsegments to {places[-1][1] if places else 0} of {len(track.data)}, SAP {saps}",
            passed,
        )
