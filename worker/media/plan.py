"""The plan of a transcode: what ffmpeg does to a source, decided before it starts. Pure.

    shift → interpret → normalise → deinterlace → trim → pace → span → orient → fit → convert → burn in → restart
                                                                                    ↘ poster, sprites

`shift`, `span` and `restart` are there for the chunks of a divided film alone.

`Picture.filters` turn decoded pictures of the source into those that the encoder gets. A score applies the same filters
to its reference, but for the loss of size (`Picture.with_fit`), so whatever the encode did to framing, time and colour
is done to both.
"""

import math
from pathlib import Path
from typing import NamedTuple

from msgspec import structs

from elasticrecode.jobs.events import Notice
from elasticrecode.media.profiles import Ffmpeg, Profile
from worker.media import audio, colour, encoders, geometry, images, metadata, scanning, subtitles, timing
from worker.media.audio import AudioPlan, plan_audio
from worker.media.colour import Signal
from worker.media.demuxers import input_options
from worker.media.geometry import Raster
from worker.media.images import ImagePlan, plan_images
from worker.media.source import Source
from worker.media.steps import Step
from worker.media.subtitles import SubtitlePlan
from worker.media.video import Video
from worker.sandbox.limits import JobLimits

BEGINNING = (
    *("-hide_banner", "-nostdin", "-y", "-loglevel", "level+verbose", "-nostats", "-progress", "pipe:1"),
    *("-max_error_rate", "1"),
)
"""The first options of ffmpeg: a log that tells what was read and written, and no end for damaged input."""
_NO_SUBTITLES = SubtitlePlan()


class Pacing(NamedTuple):
    """How frames get their times: `pace` before all rungs of a ladder part, and `thin`, which leaves out some of one.

    `gop` is the number of frames from one keyframe of the output to the next.
    """

    pace: Step
    thin: Step
    gop: int


class Span(NamedTuple):
    """The steps by which an encode makes one chunk of a film from a cut.

    `shift` brings the clock of the film, which the cut keeps, to seconds of the source; `span` leaves out the frames of
    other chunks; `restart` lets the chunk begin at 0.
    """

    shift: Step = Step()
    span: Step = Step()
    restart: Step = Step()


class Picture(NamedTuple):
    """How the pictures are made. `rate` is the output's mean of frames per second, 0 where unknown.

    `steps` bring pictures to the output's size and clock, `conversion` to its signal. `gop` counts the
    frames from one keyframe to the next, 0 where the encode tells seconds. Posters and sprites branch off
    between the two, and get their own conversion, `still`.
    """

    encode: Ffmpeg
    size: Raster
    signal: Signal
    rate: float
    steps: tuple[Step, ...]
    conversion: tuple[Step, ...]
    still: Step
    still_signal: Signal
    fit: Step
    gop: int = 0

    def with_fit(self, fit: Step) -> "Picture":
        """This picture with another step in place of `fit`, the one that brings pictures to the output's size."""
        return self._replace(steps=tuple(fit if step is self.fit else step for step in self.steps), fit=fit)

    @property
    def factor(self) -> float:
        """Frames that the filters make of one, as long as the rate of the source stays."""
        return math.prod(step.factor for step in self.steps)

    @property
    def filters(self) -> tuple[str, ...]:
        """The filters from a decoded picture to one for the encoder."""
        return chained((*self.steps, *self.conversion))

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What the steps change or guess."""
        return tuple(notice for step in (*self.steps, *self.conversion) for notice in step.notices)

    def write_files(self, folder: Path) -> None:
        """Write the files that the filters read into the folder in which ffmpeg runs."""
        for step in (*self.steps, *self.conversion, self.still):
            for name, text in step.files.items():
                (folder / name).write_text(text, encoding="ascii")


class Plan(NamedTuple):
    """What a transcode does."""

    source: Source
    profile: Profile
    muxer: str
    picture: Picture
    audio: AudioPlan
    images: ImagePlan
    subtitles: SubtitlePlan

    @property
    def notices(self) -> list[Notice]:
        """What the output leaves out, changes or guesses."""
        left_out = metadata.left_out(self.source, self.picture.encode, self.muxer)
        return [*self.picture.notices, *self.audio.notices, *self.images.notices, *self.subtitles.notices, *left_out]


def make_plan(
    source: Source,
    profile: Profile,
    encode: Ffmpeg,
    muxer: str,
    texts: SubtitlePlan = _NO_SUBTITLES,
    pacing: Pacing | None = None,
    span: Span = Span(),  # noqa: B008
) -> Plan:
    """The plan of a transcode. Raises PermanentError for a source that cannot come out right.

    `encode` is the profile's `ffmpeg`; `muxer` is ffmpeg's name of the output container; `pacing` stands in for that of
    the encode's `frameRate`; `span` makes it the plan of a chunk.
    """
    sound = plan_audio(source.audio, source.video.demuxer, profile, muxer, timing.sound_trim(source.video, encode))
    picture = _picture(source.video, encode, texts, pacing, span, with_images=bool(profile.images))
    pictures = plan_images(profile.images or None, picture.size, timing.length(source.video, encode))
    return Plan(source, profile, muxer, picture, sound, pictures, texts)


def _picture(
    video: Video, encode: Ffmpeg, texts: SubtitlePlan, pacing: Pacing | None, span: Span, *, with_images: bool
) -> Picture:
    size, signal = geometry.raster(video, encode), colour.signal(video, encode)
    fit, deinterlace = geometry.fit(video, encode, size), scanning.deinterlace(video, encode)
    whole = scanning.whole(video, deinterlace)
    paces = pacing or Pacing(timing.pace(whole, encode), Step(), 0)
    steps = (
        span.shift,
        colour.interpret(video),
        geometry.normalise(video),
        deinterlace,
        timing.trim(whole, encode),
        paces.pace,
        span.span,
        geometry.orient(video),
        paces.thin,
        fit,
    )
    conversion = (colour.convert(video, signal, encode), subtitles.burn_in(texts, signal), span.restart)
    sdr = structs.replace(encode, dynamicRange="sdr", bitDepth=8)
    still_signal = colour.signal(video, sdr)
    still = colour.convert(video, still_signal, sdr) if with_images else Step()
    rate = timing.mean_rate(whole, encode)
    return Picture(encode, size, signal, rate, steps, conversion, still, still_signal, fit, paces.gop)


def chained(steps: tuple[Step, ...]) -> tuple[str, ...]:
    """The filters of steps, one after another."""
    return tuple(name for step in steps for name in step.filters)


def _picture_graph(plan: Plan) -> list[str]:
    """The filter graph from the source's pictures to [picture], and to those of posters and sprites."""
    picture, count = plan.picture, plan.images.branches
    source = f"[0:{plan.source.video.stream}]"
    if not count:
        return [f"{source}{','.join(picture.filters)}[picture]"]
    pads = [f"[still{number}]" for number in range(count)]
    shared = ",".join((*chained(picture.steps), f"split={count + 1}"))
    film = ",".join(chained(picture.conversion)) or "null"
    stills = images.graph(plan.images, pads, picture.still.filters, picture.still_signal)
    return [f"{source}{shared}[film]{''.join(pads)}", f"[film]{film}[picture]", *stills]


def arguments(
    plan: Plan,
    source: str,
    target: str,
    limits: JobLimits = JobLimits(),  # noqa: B008
    threads: int = 0,
) -> list[str]:
    """Arguments of ffmpeg for the transcode, without the program's name.

    `source` and `target` are local paths; `threads` is the number of cores for the encoder, 0 for all.
    """
    encode, video = plan.picture.encode, plan.source.video
    gpu = encode.platform == "gpu"
    decoder = ["-c:v", encode.originCodec] if gpu and encode.originCodec else colour.decoder(video)
    graph = ";".join(_picture_graph(plan))
    sound = [argument for chain in audio.graphs(plan.audio) for argument in ("-filter_complex", chain)]
    return [
        *BEGINNING,
        *(("-hwaccel", "cuda") if gpu else ()),
        *decoder,
        *input_options(limits, is_late=video.is_late),
        *timing.seek_options(video, encode),
        *("-noautorotate", "-reinit_filter:v", "0"),
        *("-f", video.demuxer, "-i", f"file:{source}"),
        *side_inputs(plan),
        *("-filter_complex", graph, *sound, "-map", "[picture]"),
        *encoders.encoder_options(encode, plan.picture.signal, plan.picture.rate, plan.muxer, threads),
        *("-fps_mode:v", "passthrough", "-enc_time_base:v", f"1/{timing.ticks(video, encode)}"),
        *timing.last_frame_options(video, encode),
        *audio.output_options(plan.audio),
        *output_options(plan, target),
        *images.outputs(plan.images),
    ]


def side_inputs(plan: Plan) -> list[str]:
    """Options of ffmpeg that open what the output gets from beside the film, as inputs from number 1: tags, texts."""
    tags = metadata.tag_input(plan.source, plan.picture.encode, plan.muxer)
    return [*tags, *subtitles.inputs(plan.subtitles, plan.muxer)]


def output_options(plan: Plan, target: str) -> list[str]:
    """Options of ffmpeg behind those of the pictures and sounds: tags and texts from `side_inputs`, and the file."""
    source, encode, muxer = plan.source, plan.picture.encode, plan.muxer
    texts = 2 if metadata.tag_input(source, encode, muxer) else 1
    return [
        *("-dn", *metadata.tag_options(source, encode, muxer, 1)),
        *subtitles.output_options(plan.subtitles, muxer, texts),
        *(("-movflags", "+faststart", "-write_tmcd", "0") if muxer in ("mp4", "mov") else ()),
        *("-f", muxer, f"file:{target}"),
    ]
