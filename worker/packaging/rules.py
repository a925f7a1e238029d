"""Rules of packages that the worker checks by the boxes of the tracks that it has packaged. Pure.

They are some of docs/reference/package-rules.md, whose checker reads bitstreams and playlists too.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import median

from worker.packaging.boxes import Fragment, TrackFile
from worker.packaging.findings import Rule
from worker.packaging.tracks import Track

_LONGEST_GOP = 2


def check_tracks(tracks: Sequence[Track], files: Mapping[str, TrackFile]) -> list[Rule]:
    """The findings of all rules, of each track and of the rungs together."""
    rungs = {track.name: files[track.name] for track in tracks if track.kind == "video"}
    sounds = {track.name: files[track.name] for track in tracks if track.kind == "audio"}
    findings = [rule for name, file in {**rungs, **sounds}.items() for rule in _of_track(name, file)]
    findings += [rule for name, file in rungs.items() for rule in _of_rung(name, file)]
    return [*findings, *_of_rungs(rungs), *_of_lengths(rungs, sounds)]


def _of_track(name: str, file: TrackFile) -> Iterator[Rule]:
    fragments = file.fragments
    holes = sum(one.start + one.duration != other.start for one, other in pairwise(fragments))
    yield Rule("decode-times-continue", not holes, f"{holes} gaps between {len(fragments)} fragments", name)
    places = [offset for offset, _, _ in file.segments]
    ends = [offset + size for offset, size, _ in file.segments]
    spare = sum(end != place for end, place in zip(ends, places[1:], strict=False))
    starts = {fragment.offset for fragment in fragments}
    tiles = not spare and starts.issuperset(places) and ends[-1] == fragments[-1].offset + fragments[-1].size
    yield Rule("index-tiles", tiles, f"{len(places)} segments, {spare} of them not behind the one before", name)


def _of_rung(name: str, file: TrackFile) -> Iterator[Rule]:
    first = Fraction(file.fragments[0].start, file.timescale)
    yield Rule("starts-at-zero", not first, f"the first picture at {float(first):g} s", name)
    steps = {step for fragment in file.fragments for step in fragment.durations}
    yield Rule("rate-constant", len(steps) == 1, f"pictures of {_some(steps)} ticks at {file.timescale} a second", name)
    longest = max(Fraction(fragment.duration, file.timescale) for fragment in file.fragments)
    picture = Fraction(_picture(file.fragments), 2 * file.timescale)
    yield Rule("idr-every-2-s", longest <= _LONGEST_GOP + picture, f"at most {float(longest):g} s", name)


def _of_rungs(rungs: Mapping[str, TrackFile]) -> Iterator[Rule]:
    keys = {name: {Fraction(each.start, file.timescale) for each in file.fragments} for name, file in rungs.items()}
    apart = _unshared(keys.values())
    yield Rule("idr-aligned", not apart, f"{apart} key frames of some rungs are not in all {len(rungs)}")
    bounds = {name: {_second(file, offset) for offset, _, _ in file.segments} for name, file in rungs.items()}
    apart = _unshared(bounds.values())
    yield Rule("segments-aligned", not apart, f"{apart} boundaries of some rungs are not in all {len(rungs)}")
    fastest = max(file.rate for file in rungs.values())
    odd = [name for name, file in rungs.items() if file.rate * 2 != fastest and file.rate != fastest]
    alike = len({file.seconds for file in rungs.values()}) == 1
    yield Rule("rates-divide", not odd and alike, f"{float(fastest):g} pictures per second, {len(odd)} rungs of others")


def _of_lengths(rungs: Mapping[str, TrackFile], sounds: Mapping[str, TrackFile]) -> Iterator[Rule]:
    length = max(file.seconds for file in rungs.values())
    picture = 1 / max(file.rate for file in rungs.values())
    for name, file in sounds.items():
        frame = Fraction(_picture(file.fragments), file.timescale)
        apart = abs(file.seconds - length)
        measured = f"{float(apart):.3f} s from the end of the video"
        yield Rule("tracks-equally-long", apart <= max(frame, picture), measured, name)


def _unshared(times: Collection[set[Fraction]]) -> int:
    """How many times are not in all of these sets."""
    counts = Counter(time for one in times for time in one)
    return sum(count < len(times) for count in counts.values())


def _second(file: TrackFile, offset: int) -> Fraction:
    """When the segment at a byte begins."""
    return next(Fraction(each.start, file.timescale) for each in file.fragments if each.offset >= offset)


def _picture(fragments: Sequence[Fragment]) -> int:
    """The usual duration of a sample in ticks."""
    return round(median(step for fragment in fragments for step in fragment.durations))


def _some(steps: set[int]) -> str:
    return " or ".join(map(str, sorted(steps)[:3]))
