"""How much of a source an output lacks: what the container promises against what was decoded. Pure."""

import re
from collections.abc import Mapping, Sequence

from elasticrecode.jobs.events import Notice
from worker.errors import PermanentError
from worker.media import timing
from worker.media.packets import TrackMeter
from worker.media.plan import Plan
from worker.media.tally import Decoded

_SIGN = re.compile(
    r"partial file|ended prematurely|acket corrupt|corrupt input packet|corrupt decoded frame|while decoding|"
    r"submitting packet|ecoding error|acket mismatch|EBML|containing master|runcat|Invalid NAL|moov atom"
)
_CORRUPT_FRAME = re.compile(r"vist#.*corrupt decoded frame")
_SOUND = "[aist#"
TOLERANCE = 0.05
"""The share of a film's frames that may be lost or damaged. More is an error."""
_SHORT_SECONDS = 1.0
_FEW_GAPS = 3
_SHORT_SHARE = 0.01


def signs(lines: Sequence[str]) -> list[str]:
    """The lines of ffmpeg's log that show damage of the container or of the picture."""
    return [line for line in lines if _SIGN.search(line) and _SOUND not in line]


def incomplete(lines: Sequence[str]) -> int:
    """The number of frames that came out incomplete, by the grave lines of ffmpeg's log."""
    return sum(1 for line in lines if _CORRUPT_FRAME.search(line))


class Damage:
    """The frames that a film lacks. `lost` never came out, `marred` came out incomplete."""

    def __init__(
        self,
        plan: Plan,
        pictures: Decoded,
        film: TrackMeter,
        span: tuple[float, float],
        lines: Sequence[str],
        paced: int | None = None,
    ) -> None:
        """`lines` are the grave ones of ffmpeg's log.

        `span` are the second of its clock at which the output begins, and from there that at which its longest track
        ends. `paced` are the frames that were brought to the rate that is wanted, which fills the gaps.
        """
        begin, end = span
        video, encode = plan.source.video, plan.picture.encode
        clock, is_cut = video.clock, timing.is_cut(encode)
        self.decoded = pictures.frames
        self.marred = incomplete(lines)
        self.second: float | None = None
        self.lost = pictures.errors
        if not (pictures.errors or signs(lines)):
            return
        rate = video.rate or film.rate
        gaps = film.gaps()
        if is_cut and (late := _late(plan, film) - begin) > 2.5 / (film.rate or 25.0):
            gaps = [(0.0, late), *gaps]
        if len(gaps) > max(_FEW_GAPS, 2 * len(signs(lines))):  # the rate varies
            gaps = []
        holes = sum(length for _, length in gaps)
        declared = timing.length(video, encode) if is_cut else clock.file_duration
        missing = max(0.0, (declared or 0.0) - end)
        short = missing if missing > _SHORT_SECONDS or missing > TOLERANCE * end else 0.0
        lost = round(rate * (holes + short))
        if paced is not None and not clock.is_rate_guessed:
            lost = max(0, round(rate * (timing.length(video, encode) or 0.0)) - paced)
        if is_cut:
            self.decoded = round(rate * max(0.0, film.seconds - sum(length for first, length in gaps if first)))
            self.decoded = self.decoded if paced is None else paced
            self.marred, self.lost = min(self.marred, self.decoded), 0
        elif clock.is_counted and clock.frames:
            lost = clock.frames - pictures.frames if short or pictures.errors else 0
        self.lost = max(self.lost, lost)
        if gaps:
            self.second = gaps[0][0]
        elif short:
            self.second = film.seconds

    def outside(self) -> None:
        """Forget the frames that came out incomplete: they lie outside the part that is wanted."""
        self.marred = 0

    @property
    def share(self) -> float:
        """The share of the film's frames that are lost or marred."""
        return (self.lost + self.marred) / max(1, self.decoded + self.lost)

    def notice(self, second: float | None) -> Notice | None:
        """The warning of it; None for a film without damage. `second` is where it begins, if that is known."""
        return Notice("picture-damaged", self.message(second)) if self.lost or self.marred else None

    def message(self, second: float | None) -> str:
        """The numbers, and the second."""
        return _message(self.lost, self.marred, self.decoded, second)


def _message(lost: int, marred: int, decoded: int, second: float | None) -> str:
    where = "" if second is None else f", the first at {second:.1f} s"
    counts = f"{lost} of {decoded + lost} frames could not be decoded"
    return f"The input is damaged: {counts} and {marred} are incomplete{where}."


def of_chunks(lost: int, marred: int, decoded: int, second: float | None) -> list[Notice]:
    """The warning of frames that a film lacks of `decoded` ones, by its chunks; `second` is where the first is.

    Raises PermanentError `input-corrupt` for more damage than TOLERANCE.
    """
    message = _message(lost, marred, decoded, second)
    if (lost + marred) / max(1, decoded + lost) > TOLERANCE:
        raise PermanentError("input-corrupt", message)
    return [Notice("picture-damaged", message)] if lost or marred else []


def _late(plan: Plan, film: TrackMeter) -> float:
    """Seconds of a part at its beginning that have no picture, where the source should have one."""
    video, tracks = plan.source.video, plan.source.audio
    starts = [start for start in (video.start, *(track.start for track in tracks)) if start is not None]
    begin = (video.start or 0.0) - min(starts, default=0.0)
    return film.start - max(0.0, begin - (plan.picture.encode.start or 0.0))


def shorter(plan: Plan, film: TrackMeter, end: float) -> list[Notice]:
    """The warning of an output that ends before the source does by its container; none without one."""
    video, encode = plan.source.video, plan.picture.encode
    if timing.is_cut(encode) and not video.clock.file_duration:
        return list(timing.end_beyond(encode, (encode.start or 0.0) + end, 1 / film.longest_step))
    declared = video.clock.file_duration if video.duration == video.clock.file_duration else video.duration
    if timing.is_cut(encode):
        declared = timing.length(video, encode)
    actual = end if declared == video.clock.file_duration else film.end
    if not declared and not timing.is_cut(encode):
        declared, actual = video.clock.doubted, end
    if not declared or declared - actual <= max(_SHORT_SECONDS / 2, _SHORT_SHARE * declared):
        return []
    message = f"The output lasts {actual:.3f} s; the input declares {declared:.3f} s. Check that the input is whole."
    return [Notice("shorter-than-declared", message)]


def hidden(plan: Plan, film: TrackMeter) -> list[Notice]:
    """The warning of pictures that lie before the output's begin."""
    count = 0 if plan.muxer in timing.FREE_CLOCKS else film.hidden
    message = f"{count} of {film.frames} pictures lie before the input's own begin; players do not show them."
    return [Notice("pictures-hidden", message)] if count else []


def sound(plan: Plan, counts: Mapping[tuple[int, int], Decoded], tracks: Sequence[TrackMeter]) -> list[Notice]:
    """The warnings of sound that could not be decoded, or is shorter in the output than it was decoded."""
    notices = []
    sources = {track.stream: track for track in plan.source.audio}
    for number, track in enumerate(plan.audio.tracks):
        heard = counts.get((0, track.streams[0]))
        is_entered = bool(timing.seek(plan.source.video, plan.picture.encode))
        if heard and heard.errors > (1 if is_entered else 0):  # the first after a seek may be half a packet
            message = f"{heard.errors} of {heard.packets} packets of audio track {number + 1} could not be decoded."
            notices.append(Notice("sound-damaged", f"{message} Silence stands in their place."))
        source = sources.get(track.streams[0])
        if not heard or not source or number >= len(tracks) or timing.is_cut(plan.picture.encode):
            continue
        decoded, actual = source.seconds(heard.samples), tracks[number].end
        if decoded - actual > _SHORT_SECONDS / 2:
            message = f"Audio track {number + 1} lasts {actual:.3f} s in the output; {decoded:.3f} s were decoded."
            notices.append(Notice("sound-shorter", message))
    return notices


def check(damage: Damage, second: float | None, lines: list[str]) -> None:
    """Raise PermanentError `input-corrupt` for more damage than TOLERANCE."""
    if damage.share > TOLERANCE:
        raise PermanentError("input-corrupt", damage.message(second), lines)
