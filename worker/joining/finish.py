"""Makes the output file of a divided film: its joined pictures, its sound, its texts and its tags, and verifies it."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from elasticrecode.jobs.events import Notice
from worker.errors import PermanentError
from worker.joining.join import Joined
from worker.joining.sounds import Sound, container
from worker.media import audio, colour, damage, encoders, images, metadata, silence, timing
from worker.media.buffer import rate_of
from worker.media.demuxers import input_options
from worker.media.encode import Encoded, described
from worker.media.ffmpeg_errors import encoder_error, grave
from worker.media.images import ImagePlan
from worker.media.packets import TrackMeter
from worker.media.plan import BEGINNING, Plan, output_options, side_inputs
from worker.media.verify import Verified, read_back
from worker.sandbox.limits import JobLimits
from worker.sandbox.runner import Runner, last_lines
from worker.settings import Settings

_DEMUXERS = {"mp4": "mov", "matroska": "matroska"}


def finish_file(
    plan: Plan,
    joined: Joined,
    sound: Sound,
    target: Path,
    uri: str,
    settings: Settings,
    runner: Runner,
    notices: Sequence[Notice] = (),
    pictures: ImagePlan = ImagePlan(),  # noqa: B008
) -> Encoded:
    """Make the output file of a film from its joined pictures and its sound, and verify it against the plan.

    `plan` is that of the film, `sound` comes from `encode_sound` with that plan; all files lie in the job's folder, as
    do those of the plan's subtitles. `uri` is where the output will be published. `notices` are those of the pictures'
    encodes, and `pictures` those beside the film, of which candidates and thumbnails lie in the folder. Raises JobError
    or Interrupted.
    """
    plan = sound.plan
    tags = metadata.tags(plan.source, plan.picture.encode, plan.muxer)
    target.with_name(metadata.TAGS).write_text(tags, encoding="utf-8")
    log = target.with_name("finish.log")
    command = [settings.ffmpeg, *arguments(joined, sound, target, runner.limits)]
    seconds = runner.limits.timeout_seconds(plan.source.video.duration)
    status = runner.run(command, target.parent, log, seconds=seconds, step="finish")
    lines = last_lines(log, target.parent)
    if status:
        raise encoder_error(grave(lines), status, ("output",))
    output = _verify(joined, sound, target, settings, runner, grave(lines))
    size, seconds = plan.picture.size, output.film.seconds
    stills = images.finish(pictures, size, seconds, target.parent, settings.ffmpeg, runner)
    rate = rate_of("file", plan.picture.encode, output.film)
    notices = [*plan.notices, *output.notices, *notices]
    return Encoded(described(output, uri, target, plan), plan, notices, stills, rate)


def arguments(joined: Joined, sound: Sound, target: Path, limits: JobLimits) -> list[str]:
    """Arguments of ffmpeg, without the program's name: all tracks are copied, with the options of an undivided encode.

    Times are those of the files, whatever the first one in each is.
    """
    plan = sound.plan
    sides = side_inputs(plan)
    first = 1 + sides.count("-i")
    file = (*input_options(limits), "-f", _DEMUXERS[container(plan)], "-i", f"file:{sound.file}") if sound.file else ()
    encoded = {number: f"{first}:{place}" for place, number in enumerate(sound.encoded)}
    rest = first + bool(sound.file)
    tracks = plan.audio.tracks
    links = [encoded.get(number, f"{rest}:{track.streams[0]}") for number, track in enumerate(tracks)]
    return [
        *(*BEGINNING, "-copyts", *input_options(limits), "-f", "mov", "-i", f"file:{joined.file}"),
        *sides,
        *file,
        *(_rest_options(sound, limits) if len(encoded) < len(links) else ()),
        *("-map", "0:v:0", "-c:v", "copy", *encoders.tag_options(plan.picture.encode.codec, plan.muxer)),
        *(
            "-bsf:v",
            _held(joined),
            "-disposition:v",
            "0",
            *_rate_options(plan, joined.ticks),
            *_encoder_options(joined, sound),
        ),
        *audio.output_options(plan.audio, links),
        *output_options(plan, str(target)),
    ]


def _held(joined: Joined) -> str:
    """The filter of ffmpeg by which the film ends with its last frame, whatever the steps of decoding times are."""
    durations = f"if(eq(NEXT_DTS,NOPTS),DURATION,if(eq(PTS,{joined.last}),{joined.held},1))"
    return f"setts=pts=PTS:dts=DTS:duration='{durations}'"


def _rest_options(sound: Sound, limits: JobLimits) -> tuple[str, ...]:
    """Options of ffmpeg that open the file from which tracks are copied, at the start of the source."""
    video = sound.plan.source.video
    opened = (*input_options(limits, is_late=video.is_late), "-itsoffset", f"{-sound.start:.6f}")
    return (*opened, "-f", video.demuxer, "-i", f"file:{sound.rest}")


def _rate_options(plan: Plan, ticks: int) -> tuple[str, ...]:
    """Options of ffmpeg for the rate that Matroska declares; MP4 has it in its times."""
    picture, video = plan.picture, plan.source.video
    declared = timing.declared_rate(video, picture.encode, picture.rate, picture.factor)
    rate = Fraction(declared).limit_denominator(1001)
    if not rate or plan.muxer != "matroska":
        return ()
    return ("-r:v", f"{rate.numerator}/{rate.denominator}", "-time_base:v", f"1/{ticks}")


def _encoder_options(joined: Joined, sound: Sound) -> list[str]:
    """Options of ffmpeg that name the encoders of the tracks, as it does by itself where it encodes."""
    library, _, _ = joined.encoder.partition(" ")
    named = [
        ("v", joined.encoder),
        *((f"a:{n}", f"{library} {sound.plan.audio.tracks[n].codec}") for n in sound.encoded),
    ]
    return [word for track, name in named if library for word in (f"-metadata:s:{track}", f"encoder={name}")]


def _verify(
    joined: Joined, sound: Sound, target: Path, settings: Settings, runner: Runner, lines: list[str]
) -> Verified:
    """The output that was read back. Raises PermanentError if it lacks what its parts have."""
    plan = sound.plan
    read, measured = read_back(settings, runner, target, plan, lines)
    silent = silence.check(plan.audio, read.audio, sound.counts, sound.lines, alone=True)
    film = measured.tracks.get(read.video.stream, TrackMeter())
    if film.frames != joined.frames:
        message = f"The output has {film.frames} frames; its chunks have {joined.frames}."
        raise PermanentError("output-invalid", message, lines)
    sounds = [track for stream, track in sorted(measured.tracks.items()) if stream != read.video.stream]
    tracks = (film, *sounds)
    begin = min(track.start for track in tracks) if plan.muxer in timing.FREE_CLOCKS else 0.0
    end = max(track.end for track in tracks) - begin
    heard = damage.sound(plan, sound.counts, sounds)
    colours = colour.verify(plan.source.video, read.video, plan.picture.signal)
    lacks = [*damage.hidden(plan, film), *damage.shorter(plan, film, end)]
    return Verified(read.video, film, [*silent, *heard, *lacks, *colours])
