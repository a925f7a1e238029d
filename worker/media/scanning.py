"""Interlaced and telecined sources: the filters that make whole pictures of fields. Pure."""

from elasticrecode.jobs.events import Notice
from elasticrecode.media.profiles import Ffmpeg
from worker.media.fields import IDET
from worker.media.steps import Step
from worker.media.video import Video

_FASTEST = 31.0
"""Pictures per second above which a source without flags is progressive."""
_HEIGHTS = {480, 486, 512, 576, 608, 1080, 1088}
"""Lines of interlaced systems. At any other height fields were scaled, and no filter separates them again."""
_PULLDOWN_RATES = (29.0, 30.5)
_PICTURES = 12
_PICTURES_OF_FILM = 40
_LEAST_HEIGHT = 100
_LEAST_COMBED = 3
_COMBED_SHARE = 0.2
_LOOK = ("copy", IDET)
"""idet judges pictures whose memory `pad` has handed on differently from run to run; it judges copies alike."""
_PLACES = (0.35, 0.1, 0.7, 0.0)
"""Where idet looks, as shares of the length: at the first place only, if it sees there what the flags say."""


def is_suspect(video: Video) -> bool:
    """Whether idet should look at the source: flags can be wrong, and interlaced pictures coded as progressive."""
    may_be = 0 < video.rate <= _FASTEST and video.height in _HEIGHTS
    return (may_be or (video.interlaced and video.height > _LEAST_HEIGHT)) and video.frames != 1


def places(video: Video) -> list[tuple[float, int]]:
    """The places where idet looks, in seconds, each with the number of pictures that it needs there."""
    may_be_film = _PULLDOWN_RATES[0] <= video.rate <= _PULLDOWN_RATES[1]
    count = _PICTURES_OF_FILM if may_be_film and (video.interlaced or video.scan.combed) else _PICTURES
    return [(share * (video.duration or 0.0), count) for share in (_PLACES if video.duration else (0.0,))]


def is_settled(video: Video) -> bool:
    """Whether idet has seen enough: no fields where the flags say progressive, or fields where they say interlaced."""
    seen = video.scan
    return seen.combed > 2 and not seen.is_telecined if video.interlaced else not seen.combed


def deinterlace(video: Video, encode: Ffmpeg) -> Step:
    """The filters that remove interlacing, where the source has any and the encode does not leave it."""
    seen, wish = video.scan, encode.deinterlace or "auto"
    is_combed = seen.combed >= max(_LEAST_COMBED, _COMBED_SHARE * (seen.combed + seen.progressive))
    looks = f"{seen.combed} of {seen.pictures} pictures that were looked at are combed, {seen.progressive} are whole"
    if not (video.interlaced or is_combed):
        problem = f"`deinterlace` is double, and the input is progressive: {looks}. Its frame rate stays."
        return Step((), (Notice("not-interlaced", problem),) if wish == "double" else ())
    if wish == "off":
        seems = "is" if video.interlaced else "looks"
        problem = (
            f"The input {seems} interlaced, and `deinterlace` is off: its fields are scaled and coded as one. {looks}."
        )
        return Step((), (Notice("interlacing-kept", problem),))
    flags = f"its flags say {video.field_order or 'progressive'}" if video.interlaced else "its flags say progressive"
    if seen.is_telecined and wish == "auto":
        return _without_pulldown(video, looks)
    done = "Each field became a frame" if wish == "double" else "Combed pictures were deinterlaced, whole ones kept"
    message = f"{done}: {flags}; {looks}."
    as_flagged = video.interlaced and (seen.combed or not seen.progressive)
    notice = Notice("interlacing-removed", message) if as_flagged else Notice("interlacing-guessed", message)
    if wish == "double":
        return _doubled(video, notice)
    return Step((*_LOOK, "bwdif=mode=send_frame:deint=interlaced"), (notice,))


def whole(video: Video, step: Step) -> Video:
    """The video behind the filters that remove interlacing."""
    return video._replace(
        rate=video.rate * step.factor,
        frames=round(video.frames * step.factor) if video.frames else None,
        interlaced=video.interlaced and not step.filters,
    )


def _without_pulldown(video: Video, looks: str) -> Step:
    message = (
        f"The input is film at {video.rate * 0.8:.3f} pictures/s, stretched to {video.rate:.3f} by 3:2 pulldown: "
        f"the output has those of the film. {looks}."
    )
    filters = ("fieldmatch", "bwdif=mode=send_frame:deint=interlaced", "decimate")
    return Step(filters, (Notice("telecine-removed", message),), factor=0.8)


def _doubled(video: Video, notice: Notice) -> Step:
    """A frame for each field. Where idet saw whole pictures as well, those stay one frame each."""
    seen = video.scan
    if seen.progressive and video.interlaced and not seen.combed:
        return Step((*_LOOK, "bwdif=mode=send_field:deint=interlaced"), (notice,))
    parity = "auto"
    if seen.combed >= _LEAST_COMBED:
        parity = "tff" if seen.top_first > seen.bottom_first else "bff"
    return Step((f"bwdif=mode=send_field:deint=all:parity={parity}",), (notice,), factor=2.0)
