"""How the frames of two videos are paired, from their metadata and the times of their decoded frames. Pure.

libvmaf compares whatever frames it is given. `compare` decides before the measurement how pictures are compared;
`pair_frames` and `alignment` check after it that the paired frames show the same moments of the same film.

Differences that can be compensated exactly are: the start time, rotation, the container's clock, scale, bit depth and
colour range. Any other difference ends the job with a permanent error, or with `align: nearest` becomes a warning:

    frame-rate-mismatch        another frame rate, or frames at other times; `nearest` pairs by time
    frame-count-mismatch       more frames missing than the start and end explain; `nearest` pairs by time
    dynamic-range-mismatch     HDR against SDR, or PQ against HLG
    interlacing-mismatch       interlaced against progressive

These end the job in any case:

    shape-mismatch             one is shown upright, the other on its side
    origin-still, input-still  a single picture against a film
    origin-no-frames, input-no-frames
"""

from array import array
from collections.abc import Iterable, Sequence
from itertools import islice, pairwise
from operator import sub
from statistics import median
from typing import NamedTuple

from worker.errors import PermanentError
from worker.media.video import Video

MAX_MISSING = 2
"""Frames that may be missing at the start or the end of either side."""
_MAX_MISSING_SHARE = 1000
"""For a long film, one frame in this many may be missing."""
_RATE_TOLERANCE = 0.0005
_ASPECT_TOLERANCE = 0.005
"""Share by which an encode may change the aspect ratio, as `worker.media.geometry` does at most."""
_TRUE_RATE = 0.01
"""A declared rate is believed if the frames' times confirm it to this share."""
_LEAP_SECONDS = 10.0
_CLOCK_SECONDS = 0.0021
"""Rounding of two clocks of a millisecond."""
_TRANSFERS = {"smpte2084": "PQ", "arib-std-b67": "HLG"}


class Film(NamedTuple):
    """A video and the seconds at which its decoded frames are shown."""

    video: Video
    times: Sequence[float]


HDR_WARNING = "Both are HDR, and are compared in that; VMAF is made for SDR, so its scores are only a hint."


class Pairing(NamedTuple):
    """How frames are paired: by count after the skipped ones, or by time, each of the input with the nearest origin's.

    `frames` is the number of pairs. `skip_origin` and `skip_input` are frames to skip at the start. `as_coded` ignores
    rotation flags. `bits` is the bits per sample to compare at, 8 or 10.
    """

    frames: int
    by_time: bool = False
    skip_origin: int = 0
    skip_input: int = 0
    as_coded: bool = False
    bits: int = 8
    warnings: tuple[str, ...] = ()

    @property
    def order(self) -> tuple[object, ...]:
        """All that decides which pictures are compared with which."""
        return self.by_time, self.skip_origin, self.skip_input, self.as_coded

    def with_warning(self, warning: str) -> "Pairing":
        """This pairing with one more warning."""
        return self._replace(warnings=(*self.warnings, warning))


def pair(origin: Film, encoded: Film, *, nearest: bool) -> Pairing:
    """How to pair the frames of an origin and its encode. As `compare` and `pair_frames`."""
    return pair_frames(compare(origin.video, encoded.video, nearest=nearest), origin, encoded, nearest=nearest)


def compare(origin: Video, encoded: Video, *, nearest: bool) -> Pairing:
    """How to compare the pictures of an origin and its encode, which messages call the input. Its `frames` are 0.

    Raises PermanentError if pictures cannot be compared: with `nearest` only for shapes that differ.
    """
    pairing = Pairing(0, bits=10 if max(origin.bits, encoded.bits) > 8 else 8)
    pairing = _with_rotation(pairing, origin, encoded)
    pairing = _with_framing(pairing, origin, encoded)
    for code, problem, of_origin, of_input in _picture_differences(origin, encoded):
        require(nearest, code, f"The origin is {of_origin}, the input {of_input}: {problem}.")
        likened = ": the origin is brought to the input's" if of_origin in ("HDR", "interlaced") else ""
        pairing = pairing.with_warning(f"{problem} (origin {of_origin}, input {of_input}){likened}")
    return pairing.with_warning(HDR_WARNING) if origin.hdr and encoded.hdr else pairing


def pair_frames(pairing: Pairing, origin: Film, encoded: Film, *, nearest: bool, same_clock: bool = False) -> Pairing:
    """The pairing of the frames of a compared origin and its encode.

    With `same_clock`, equally many frames belong together by their numbers, whatever their times. Raises
    PermanentError if frames cannot be paired exactly and `nearest` is false, or not at all.
    """
    _refuse_stills(origin, encoded)
    origin, encoded = (Film(film.video, _unwound(film.times)) for film in (origin, encoded))
    counts = len(origin.times), len(encoded.times)
    pairing = pairing._replace(frames=min(counts))
    if same_clock and counts[0] == counts[1]:
        return pairing
    difference = _timing_difference(origin, encoded)
    if difference:
        require(nearest, *difference)
        pairing = pairing._replace(by_time=True, frames=len(encoded.times))
        return pairing.with_warning(f"{difference[1]} Frames are paired by time.")
    if counts[0] != counts[1]:
        return pairing.with_warning(f"{_counts(*counts)[:-1]}: {min(counts)} of them are compared.")
    return pairing


def require(allowed: bool, code: str, message: str) -> None:
    """Raise PermanentError unless allowed; the message then names `align: nearest` as the way out."""
    if not allowed:
        raise PermanentError(code, f'{message} Set "align": "nearest" to pair frames by time anyway.')


def _refuse_stills(origin: Film, encoded: Film) -> None:
    counts = {"origin": len(origin.times), "input": len(encoded.times)}
    for side, count in counts.items():
        other = next(value for name, value in counts.items() if name != side)
        if not count:
            raise PermanentError(f"{side}-no-frames", f"The {side} has a video stream without frames.")
        if count == 1 and other > 1 + MAX_MISSING:
            raise PermanentError(f"{side}-still", f"The {side} has one picture, and the other has {other} frames.")


def _with_rotation(pairing: Pairing, origin: Video, encoded: Video) -> Pairing:
    """Compare pictures as coded if rotation flags alone make their shapes differ.

    Players and ffmpeg rotate pictures by a flag in the container. A flag that only one side has may be wrong.
    """
    flags = f"The origin has a rotation flag of {origin.rotation} degrees, the input of {encoded.rotation}"
    if _is_wide(origin.upright) == _is_wide(encoded.upright):
        square = len({origin.width, origin.height}) == 1 and origin.rotation % 180 != encoded.rotation % 180
        return pairing.with_warning(f"{flags}.") if square or origin.mirrored != encoded.mirrored else pairing
    coded = (video._replace(rotation=0) for video in (origin, encoded))
    if origin.rotation == encoded.rotation or len({_is_wide(video.upright) for video in coded}) > 1:
        message = f"The origin is shown as {_size(origin)}, the input as {_size(encoded)}: one is on its side."
        raise PermanentError("shape-mismatch", message)
    return pairing._replace(as_coded=True).with_warning(f"{flags}; pictures are compared as coded, not as shown.")


def _with_framing(pairing: Pairing, origin: Video, encoded: Video) -> Pairing:
    """Warn if aspect ratios differ: the framing differs, or a flag is wrong. Scaling is the same in both cases."""
    if pairing.as_coded:
        return pairing
    shapes = [video.upright[0] / video.upright[1] for video in (origin, encoded)]
    rounding = sum(1 / side for side in min(origin.upright, encoded.upright))  # sides are whole and even
    if abs(shapes[0] / shapes[1] - 1) <= max(_ASPECT_TOLERANCE, rounding):
        return pairing
    sizes = f"The origin is shown as {_size(origin)}, the input as {_size(encoded)}"
    return pairing.with_warning(f"{sizes}: framing or pixel aspect differs.")


def _is_wide(size: tuple[int, int]) -> bool:
    return size[0] >= size[1]


def _size(video: Video) -> str:
    return "{}x{}".format(*video.upright)


def _picture_differences(origin: Video, encoded: Video) -> Iterable[tuple[str, str, str, str]]:
    """Properties that make pictures incomparable: a code, the problem, and the values of origin and input."""
    if origin.hdr != encoded.hdr:
        names = {True: "HDR", False: "SDR"}
        yield "dynamic-range-mismatch", "brightness cannot be compared", names[origin.hdr], names[encoded.hdr]
    elif origin.hdr and origin.transfer != encoded.transfer:
        names_of = _TRANSFERS.get(origin.transfer, "HDR"), _TRANSFERS.get(encoded.transfer, "HDR")
        yield "dynamic-range-mismatch", "brightness cannot be compared", *names_of
    if origin.interlaced != encoded.interlaced:
        names = {True: "interlaced", False: "progressive"}
        problem = "their lines show different moments"
        yield "interlacing-mismatch", problem, names[origin.interlaced], names[encoded.interlaced]


def _timing_difference(origin: Film, encoded: Film) -> tuple[str, str] | None:
    """The reason why frames cannot be paired by count, as a code and a sentence with both values; else None."""
    rates = _rate(origin), _rate(encoded)
    counts = len(origin.times), len(encoded.times)
    regular = _is_regular(origin.times) and _is_regular(encoded.times)
    if regular and all(rates) and abs(rates[0] - rates[1]) > _RATE_TOLERANCE * rates[0]:
        return "frame-rate-mismatch", "The origin has {:.3f} frames per second, the input {:.3f}.".format(*rates)
    if abs(counts[0] - counts[1]) > max(MAX_MISSING, max(counts) // _MAX_MISSING_SHARE):
        return "frame-count-mismatch", _counts(*counts)
    if counts[0] == counts[1] and not regular and not _same_times(origin, encoded):
        return "frame-rate-mismatch", "The frame rate varies, and the input shows frames at other times."
    return None


def _unwound(times: Sequence[float]) -> Sequence[float]:
    """The times with a usual step where the clock goes back or leaps, as ffmpeg takes such leaps out of some files."""
    steps = array("d", map(sub, islice(times, 1, None), times))
    if not steps or (min(steps) >= 0 and max(steps) < _LEAP_SECONDS):
        return times
    usual = median(steps)
    unwound = array("d", times[:1])
    for step in steps:
        unwound.append(unwound[-1] + (step if 0 <= step < _LEAP_SECONDS else max(0.0, usual)))
    return unwound


def _counts(origin: int, encoded: int) -> str:
    return f"The origin has {origin} frames, the input {encoded}."


def _rate(film: Film) -> float:
    """Frames per second: as declared if the times confirm it, else by the times; 0 where unknown."""
    span = film.times[-1] - film.times[0]
    measured = (len(film.times) - 1) / span if span > 0 else 0.0
    if not measured or not film.video.rate:
        return film.video.rate or measured
    error = abs(film.video.rate - measured)
    return film.video.rate if error <= measured * max(_TRUE_RATE, _CLOCK_SECONDS / span) else measured


def _same_times(origin: Film, encoded: Film) -> bool:
    """Whether equally many frames are shown at the same times, apart from the start time and clock rounding.

    Where files were joined, players and encoders continue the clock a little earlier or later: a few steps may differ.
    """
    if len(origin.times) != len(encoded.times):
        return False
    gaps: array[float] = array("d", map(sub, encoded.times, origin.times))
    step = (origin.times[-1] - origin.times[0]) / max(1, len(origin.times) - 1)
    tolerance = max(_CLOCK_SECONDS, 0.45 * step)
    if max(gaps) - min(gaps) <= tolerance:
        return True
    joins = sum(abs(after - before) > min(tolerance, _CLOCK_SECONDS) for before, after in pairwise(gaps))
    return joins <= max(MAX_MISSING, len(gaps) // _MAX_MISSING_SHARE)


def _is_regular(times: Sequence[float]) -> bool:
    """Whether the frame rate is constant, apart from the rounding of the container's clock."""
    steps: array[float] = array("d", map(sub, islice(times, 1, None), times))
    return len(steps) > 0 and max(steps) - min(steps) <= max(_CLOCK_SECONDS, 0.2 * (sum(steps) / len(steps)))
