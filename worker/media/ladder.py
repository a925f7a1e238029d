"""The renditions of a streaming package: one decode of a source, and an encode for each rung. Pure.

    interpret → normalise → deinterlace → trim → pace → orient → thin → fit → convert → burn in    (each rung)
                                                              ↘ poster, sprites

All rungs have one constant frame rate, or a whole fraction of it, and a keyframe every `gop` frames of the full rate.
So their keyframes are at equal times, to the tick, and players can change rungs there.
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from msgspec import structs

from elasticrecode.media.profiles import SOURCE, Audio, Ffmpeg, Profile
from worker.media import colour, encoders, images, scanning
from worker.media.demuxers import input_options
from worker.media.images import ImagePlan
from worker.media.packets import FileMeter
from worker.media.pieces import Piece
from worker.media.plan import Pacing, Plan, Span, chained, make_plan
from worker.media.source import Source
from worker.media.steps import Step
from worker.media.subtitles import SubtitlePlan
from worker.media.video import Video
from worker.sandbox.limits import JobLimits

MUXER = "mp4"
_STANDARD = [Fraction(rate) for rate in ("24000/1001", "24", "25", "30000/1001", "30", "48", "50", "60000/1001", "60")]
_NEAR = 0.002
"""Rates that differ by less are one: containers round the times of frames."""
_MOST_RATE = 60.5
_LEAST_STANDARD = 20.0
"""Mean frames per second from which a rate that is not standard counts as one that varies."""
_UNKNOWN_RATE = Fraction(30)
_LEAST_TICKS = 10_000
_LEAST_HOLD_SECONDS = 0.1
"""How much longer a sound lasts than the picture before the last frame is held for it."""
_MOST_HOLD_SECONDS = 3600.0
_JUMP_SECONDS = 10.0
_TELLING = ("mov", "avi")
"""Demuxers of containers that tell the length of each track."""


class Ends(NamedTuple):
    """Seconds of the source at which the pictures and the longest sound end; 0 where unknown."""

    picture: float
    sound: float


class Ladder(NamedTuple):
    """What the encodes of a package do.

    `rungs` are plans without sound, the largest first; all have equal steps in front of `thin`. `rate` is the full
    frame rate, `gop` the number of its frames from one keyframe to the next. `sound_end` is the second at which the
    longest sound ends, 0 where unknown.
    """

    source: Source
    rungs: tuple[Plan, ...]
    rate: Fraction
    gop: int
    sound_end: float = 0.0

    @property
    def ticks(self) -> int:
        """Ticks of a second in the files of all rungs."""
        return self.rate.numerator * -(-_LEAST_TICKS // self.rate.numerator)

    @property
    def gop_seconds(self) -> Fraction:
        """Seconds from one keyframe to the next."""
        return self.gop / self.rate

    def segment_seconds(self, wanted: float) -> Fraction:
        """The length of a segment: the number of whole groups of pictures that comes nearest to `wanted` seconds."""
        return max(1, round(wanted / self.gop_seconds)) * self.gop_seconds

    def frame_options(self, plan: Plan) -> tuple[str, ...]:
        """Options of ffmpeg by which all frames of a rung last equally long, the last one too."""
        period = self.ticks / self.rate * (self.gop // plan.picture.gop)
        return ("-bsf:v", f"setts=pts=PTS:dts=DTS:duration={period}")


def as_frames(video: Video) -> Video:
    """The video as its rungs show it: with a frame for each field where it is interlaced."""
    return scanning.whole(video, scanning.deinterlace(video, _interlaced_as(Ffmpeg("", SOURCE), video)))


def constant_rate(video: Video) -> Fraction:
    """The frame rate of the rungs: that of the video if it is constant, else a standard one that is not lower.

    Rates above 60 frames per second are halved until they are not.
    """
    rate = as_frames(video).rate
    while rate > _MOST_RATE:
        rate /= 2
    if not rate:
        return _UNKNOWN_RATE
    nearest = min(_STANDARD, key=lambda standard: abs(float(standard) / rate - 1))
    if abs(float(nearest) / rate - 1) <= _NEAR:
        return nearest
    if rate < _LEAST_STANDARD:
        return max(Fraction(rate).limit_denominator(100), Fraction(1))
    return next((standard for standard in _STANDARD if float(standard) >= rate), _STANDARD[-1])


def plan_ladder(
    source: Source,
    profile: Profile,
    encodes: Sequence[Ffmpeg],
    texts: SubtitlePlan,
    ends: Ends,
    piece: Piece | None = None,
) -> Ladder:
    """The plan of a package's rungs from their encodes, the largest first.

    `ends` are those of the source; `piece` makes it that of a chunk. Raises PermanentError for a source that
    cannot come out right.
    """
    rate = constant_rate(source.video)
    divisors = [_divisor(rate, encode) for encode in encodes]
    unit = math.lcm(*divisors)
    gop = max(1, round(encoders.KEYFRAME_SECONDS * rate / unit)) * unit
    silent = structs.replace(profile, audio=Audio(codec="none"))
    pace, span = _pace(ends, rate, unit, source.lateness(source.video.start), piece)
    rungs = []
    for encode, divisor in zip(encodes, divisors, strict=True):
        own = rate / divisor
        timed = structs.replace(_interlaced_as(encode, source.video), frameRate=f"{own.numerator}/{own.denominator}")
        thin = Step((f"framestep={divisor}",)) if divisor > 1 else Step()
        pacing = Pacing(pace, thin, gop // divisor)
        rungs.append(make_plan(source, silent, timed, MUXER, texts, pacing, span))
    return Ladder(source, tuple(rungs), rate, gop, ends.sound)


def _interlaced_as(encode: Ffmpeg, video: Video) -> Ffmpeg:
    """The encode with a frame for each field, but for film that pulldown stretched: that has frames of its own."""
    settled = scanning.deinterlace(video, structs.replace(encode, deinterlace="auto"))
    doubles = settled.filters and settled.factor == 1.0
    return structs.replace(encode, deinterlace="double" if doubles else "auto")


def _divisor(rate: Fraction, encode: Ffmpeg) -> int:
    """One in so many frames stays in a rung."""
    wanted = encode.frameRate
    return max(1, math.ceil(rate / Fraction(wanted) - Fraction(1, 100))) if wanted and wanted != SOURCE else 1


def _pace(ends: Ends, rate: Fraction, unit: int, late: float, piece: Piece | None) -> tuple[Step, Span]:
    """A constant rate from second 0 of the source to its end, in whole groups of `unit` frames.

    The last frame stays while the sound goes on, and until the frames of all rungs end at one time.
    """
    hold = min(ends.sound - ends.picture, _MOST_HOLD_SECONDS) if ends.picture else 0.0
    held = math.ceil(hold * rate) if hold > _LEAST_HOLD_SECONDS else 0
    paced = f"fps={rate.numerator}/{rate.denominator}"
    begin = f"{paced}:start_time=0" if not piece or not piece.chunk.start else paced
    held += unit - 1
    stay = (f"tpad=stop_mode=clone:stop={held}",) if held else ()
    # It drops what fills no group.
    whole = (f"shuffleframes={'|'.join(map(str, range(unit)))}",) if unit > 1 else ()
    if not piece:
        shift = (f"setpts=PTS+{late:.6f}/TB",) if late else ()
        return Step((*shift, begin, *stay, *whole)), Span()
    if piece.chunk.end is not None:
        stay, whole = (), ()
    span = piece.span(rate, is_paced=True)
    return Step((begin, *stay)), span._replace(span=Step((*span.span.filters, *whole)))


def expected_length(ladder: Ladder, ends: Ends) -> Fraction | None:
    """Seconds that the rungs of a source with a constant rate last; None where its end is unknown."""
    if not ends.picture:
        return None
    unit = math.lcm(*(ladder.gop // plan.picture.gop for plan in ladder.rungs))
    hold = min(ends.sound - ends.picture, _MOST_HOLD_SECONDS)
    held = math.ceil(hold * ladder.rate) if hold > _LEAST_HOLD_SECONDS else 0
    frames = round(Fraction(ends.picture) * ladder.rate) + held + unit - 1
    return frames // unit * unit / ladder.rate


def declared_ends(source: Source) -> Ends | None:
    """The ends of the tracks as the container tells them; None where it does not, or by estimates."""
    video, tracks = source.video, [track for track in source.audio if track.is_usable]
    starts = [start for start in (video.start, *(track.start for track in tracks)) if start is not None]
    begin = min(starts, default=0.0)
    if video.demuxer not in _TELLING or not video.duration or not all(track.duration for track in tracks):
        return None
    sounds = [(begin if track.start is None else track.start) + (track.duration or 0.0) for track in tracks]
    picture = (begin if video.start is None else video.start) + video.duration
    return Ends(picture - begin, max(sounds, default=begin) - begin)


def measured_ends(source: Source, packets: FileMeter) -> Ends:
    """The ends of the tracks by all packets of the file; unknown where its clock jumps, which ffmpeg joins."""
    streams = {track.stream for track in source.audio if track.is_usable}
    film = packets.tracks.get(source.video.stream)
    sounds = [track for stream, track in packets.tracks.items() if stream in streams]
    known = [track for track in (film, *sounds) if track and math.isfinite(track.start)]
    if not film or film not in known or any(track.longest_step > _JUMP_SECONDS for track in known):
        return Ends(0.0, 0.0)
    begin = min(track.start for track in known)
    return Ends(film.end - begin, max((track.end for track in known if track is not film), default=begin) - begin)


def graph(plans: Mapping[int, Plan], pictures: ImagePlan, stream: int, *, fitted: bool = False) -> str:
    """The filter graph from the source's pictures to [rung<number>] of each plan, and to those of posters and sprites.

    The plans are those of one ladder; `stream` is the film's in the input. The pictures have the size of the source
    before they get their own or, `fitted`, that of the first plan. Those of a chunk leave the others in front of its
    span, as the frame that the film shows when the chunk begins may be of the chunk before.
    """
    numbers, base = list(plans), next(iter(plans.values())).picture
    stills = [f"[still{number}]" for number in range(pictures.branches)]
    rungs = [f"[shared{number}]" for number in numbers]
    own = base.steps.index(base.fit) - 1
    span = own - 2
    fit = base.steps[own + 1 :] if fitted else ()
    if stills and base.steps[span].filters:
        fit = (*base.steps[span + 1 : own], *fit)
        chains = [
            f"[0:{stream}]{_shared(base.steps[:span], ['[film]', *stills])}",
            f"[film]{_shared(base.steps[span:own], rungs)}",
        ]
    else:
        chains = [f"[0:{stream}]{_shared(base.steps[:own], [*rungs, *stills])}"]
    for number, picture in ((number, plan.picture) for number, plan in plans.items()):
        filters = ",".join(chained((*picture.steps[own:], *picture.conversion)))
        chains.append(f"[shared{number}]{filters}[rung{number}]")
    return ";".join([*chains, *images.graph(pictures, stills, chained((*fit, base.still)), base.still_signal)])


def _shared(steps: tuple[Step, ...], pads: Sequence[str]) -> str:
    """The filters of steps to all of these pads."""
    split = (f"split={len(pads)}",) if len(pads) > 1 else ()
    return (",".join((*chained(steps), *split)) or "null") + "".join(pads)


def arguments(
    ladder: Ladder,
    numbers: Sequence[int],
    pictures: ImagePlan,
    source: str,
    targets: Sequence[str],
    limits: JobLimits = JobLimits(),  # noqa: B008
    threads: int = 0,
) -> list[str]:
    """Arguments of ffmpeg for an encode of these rungs in one decode, without the program's name.

    `pictures` are those beside the film that this run makes; `targets` are the local paths of the rungs.
    """
    video = ladder.source.video
    outputs = [
        word
        for number, target in zip(numbers, targets, strict=True)
        for word in _output(ladder, ladder.rungs[number], f"[rung{number}]", target, threads)
    ]
    return [
        *("-hide_banner", "-nostdin", "-y", "-loglevel", "level+verbose", "-nostats", "-progress", "pipe:1"),
        *("-max_error_rate", "1", *colour.decoder(video), *input_options(limits, is_late=video.is_late)),
        *("-noautorotate", "-reinit_filter:v", "0", "-f", video.demuxer, "-i", f"file:{source}"),
        *("-filter_complex", graph({n: ladder.rungs[n] for n in numbers}, pictures, video.stream)),
        *outputs,
        *images.outputs(pictures),
    ]


def _output(ladder: Ladder, plan: Plan, link: str, target: str, threads: int) -> list[str]:
    picture = plan.picture
    # Of several outputs of one graph, ffmpeg gives only the first one's encoder the metadata of the source.
    light = ladder.source.video.metadata
    options = encoders.encoder_options(
        *(picture.encode, picture.signal, picture.rate, MUXER, threads, picture.gop), light=light
    )
    return [
        *("-map", link, "-dn", "-map_metadata", "-1", "-map_chapters", "-1", *options),
        *("-fps_mode:v", "passthrough", "-enc_time_base:v", f"1/{ladder.ticks}"),
        *ladder.frame_options(plan),
        *("-video_track_timescale", str(ladder.ticks), "-movflags", "+negative_cts_offsets", "-write_tmcd", "0"),
        *("-f", MUXER, f"file:{target}"),
    ]
