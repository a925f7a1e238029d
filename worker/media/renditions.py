"""Encodes the renditions of a package: some rungs in one decode of the source, and all sounds in another run.

Each run is verified as a transcode is. The sounds are as long as the pictures: HLS wants all tracks of one length.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from msgspec import UNSET, Struct, UnsetType, structs

from elasticrecode.jobs.events import Notice, Progress, Quality
from elasticrecode.media.profiles import Audio, Profile
from worker.errors import PermanentError
from worker.media import damage, silence, tally, timing
from worker.media.audio import AudioOutput, AudioPlan, Level, plan_audio
from worker.media.buffer import Rate, rate_of
from worker.media.demuxers import input_options
from worker.media.ffmpeg_errors import encoder_error, grave, limit_error
from worker.media.images import ImagePlan
from worker.media.ladder import MUXER, Ends, Ladder, arguments, declared_ends, measured_ends
from worker.media.loudness import Meter, levelled
from worker.media.plan import Plan
from worker.media.probe import meter, probe_recording
from worker.media.progress import Ticker
from worker.media.recording import arguments as sound_arguments
from worker.media.source import Source
from worker.media.verify import Verified, verify
from worker.sandbox.machine import cores
from worker.sandbox.runner import Runner, last_lines
from worker.sandbox.steps import Step
from worker.settings import Settings

SOUNDS = "sounds.mp4"
WITHOUT_PRIMING = "noise=drop='lt(pts,0)'"
"""Leaves out AAC's first packet, which only primes the decoder. Some players count it although an edit list hides it,
and then have the sound 21 ms late; without it all agree. The first 10 ms of the sound fade in."""
_CUT_SECONDS = 0.1
"""How much of a sound may lack without a warning."""


class RungFigures(Struct, frozen=True, kw_only=True):
    """What was measured of an encoded rung. Rates are in bits per second, and frames per second.

    `cpuSeconds` is its share of the run that encoded it, the `step`, by the pixels of the rungs of that run.
    """

    width: int
    height: int
    codec: str
    frames: int
    seconds: float
    frameRate: float
    bitrate: int
    peakBitrate: int
    dynamicRange: str
    cpuSeconds: float
    notices: list[Notice] = []
    quality: Quality | UnsetType = UNSET
    rate: Rate | UnsetType = UNSET
    step: Step | UnsetType = UNSET


class Rendition(NamedTuple):
    """An encoded rung: its file, and what was measured of it."""

    file: Path
    figures: RungFigures


class Sounds(NamedTuple):
    """The encoded sounds: tracks of one file, in the order of the plan."""

    file: Path
    tracks: tuple[AudioOutput, ...]
    notices: list[Notice]
    cpu_seconds: float
    levels: tuple[Level, ...] = ()


def encode_rungs(
    ladder: Ladder,
    numbers: Sequence[int],
    pictures: ImagePlan,
    source: Path,
    settings: Settings,
    runner: Runner,
    report: Callable[[Progress], None],
) -> dict[int, Rendition]:
    """Encode these rungs of a source, which lies in the job's folder, in one decode, and make the pictures beside them.

    Raises JobError or Interrupted.
    """
    video, folder, before = ladder.source.video, source.parent, runner.cpu_seconds
    targets = [folder / f"rung-{number}.mp4" for number in numbers]
    for plan in ladder.rungs:
        plan.picture.write_files(folder)
    seconds = timing.length(video, ladder.rungs[0].picture.encode)
    ticker = Ticker(round(seconds * ladder.rate) if seconds else None, seconds, report)
    log = folder / "encode.log"
    command = arguments(
        ladder, numbers, pictures, str(source), [str(target) for target in targets], runner.limits, cores()
    )
    status = runner.run(
        [settings.ffmpeg, *command],
        folder,
        log,
        seconds=runner.limits.timeout_seconds(video.duration),
        on_line=ticker,
        step="rungs",
    )
    every_line = last_lines(log, folder)
    if error := limit_error(runner.limits, "input", grave(every_line)):
        raise error
    if status and not silence.excusable(status, tally.decoded(every_line).get((0, video.stream))):
        raise encoder_error(grave(every_line), status)
    spent = runner.cpu_seconds - before
    verified = [
        verify(settings, runner, source, target, ladder.rungs[number], every_line)
        for number, target in zip(numbers, targets, strict=True)
    ]
    weights = [each.film.frames * each.video.width * each.video.height for each in verified]
    shares = [spent * weight / max(1, sum(weights)) for weight in weights]
    figures = [
        structs.replace(rung_figures(ladder.rungs[number], each, share), step=runner.steps[-1].bare)
        for number, each, share in zip(numbers, verified, shares, strict=True)
    ]
    return dict(zip(numbers, map(Rendition, targets, figures), strict=True))


def rung_figures(plan: Plan, verified: Verified, cpu_seconds: float) -> RungFigures:
    """The figures of a rung that was read back."""
    video, film, notices = verified
    return RungFigures(
        width=video.width,
        height=video.height,
        codec=video.codec,
        frames=film.frames,
        seconds=round(film.seconds, 6),
        frameRate=round(film.rate, 3),
        bitrate=round(8 * film.bytes / film.seconds) if film.seconds else 0,
        peakBitrate=film.peak_bits,
        dynamicRange=plan.picture.signal.dynamic_range,
        cpuSeconds=round(cpu_seconds, 2),
        notices=notices,
        rate=rate_of("", plan.picture.encode, film),
    )


def encode_sounds(
    ladder: Ladder,
    profile: Profile,
    seconds: Fraction,
    source: Path,
    settings: Settings,
    runner: Runner,
    on_line: Callable[[str, float], None] = lambda *_: None,
) -> Sounds | None:
    """Encode the sounds of a package whose pictures last `seconds`; None where it has none.

    `on_line` takes what ffmpeg tells of its progress. Raises JobError or Interrupted.
    """
    before, probed = runner.cpu_seconds, ladder.source
    target, log = source.with_name(SOUNDS), source.with_name("encode.log")
    options = (*input_options(runner.limits, is_late=probed.video.is_late), "-f", probed.video.demuxer)
    options = (*options, "-i", f"file:{source}")
    limit = runner.limits.timeout_seconds(probed.video.duration)
    left_out: frozenset[int] = frozenset()
    while True:
        heard = probed.without_sound(left_out)
        plan = plan_sounds(heard, profile, seconds)
        if not plan.tracks:
            return Sounds(target, (), list(plan.notices), 0.0) if plan.notices else None
        if profile.audio and profile.audio.loudness is not UNSET:
            plan = levelled(plan, profile.audio.loudness, Meter(settings.ffmpeg, runner, source.parent, options, limit))
        aac = [f":{number}" for number, track in enumerate(plan.tracks) if track.codec == "aac"]
        finishing = tuple(word for number in aac for word in (f"-bsf:a{number}", WITHOUT_PRIMING))
        command = [settings.ffmpeg, *sound_arguments(plan, options, MUXER, str(target), finishing)]
        status = runner.run(command, source.parent, log, seconds=limit, on_line=on_line, step="sounds")
        every_line = last_lines(log, source.parent)
        counts = tally.decoded(every_line)
        if error := limit_error(runner.limits, "input", grave(every_line)):
            raise error
        more = silence.mute(heard, plan, MUXER, status, counts, every_line, alone=True) - left_out
        if not more:
            break
        left_out |= more
    if status and status != silence.ERROR_RATE:
        raise encoder_error(grave(every_line), status)
    output = probe_recording(settings.ffprobe, runner, target, "output")
    notices = [
        *plan.notices,
        *_cut(ladder, seconds),
        *silence.check(plan, output.audio, counts, every_line, alone=True),
    ]
    measured = meter(settings.ffprobe, runner, target)
    tracks = [track for _, track in sorted(measured.tracks.items())]
    notices += damage.sound(ladder.rungs[0]._replace(audio=plan), counts, tracks)
    return Sounds(target, plan.tracks, notices, runner.cpu_seconds - before, plan.levels)


def find_ends(source: Path, probed: Source, settings: Settings, runner: Runner) -> Ends:
    """When the tracks of a source end: as its container tells, else by its packets. Raises as `probe_source`."""
    if not probed.sound_starts:
        return Ends(0.0, 0.0)
    declared = declared_ends(probed)
    if declared:
        return declared
    return measured_ends(probed, meter(settings.ffprobe, runner, source, "input", is_late=probed.video.is_late))


def _cut(ladder: Ladder, length: Fraction) -> list[Notice]:
    """The warning of a sound that is cut because the picture is not held as long."""
    if ladder.sound_end - float(length) <= _CUT_SECONDS:
        return []
    message = f"The sound lasts {ladder.sound_end:.3f} s, the picture {float(length):.3f} s: the rest is cut off."
    return [Notice("sound-cut", message)]


def plan_sounds(source: Source, profile: Profile, seconds: Fraction) -> AudioPlan:
    """The sounds of a package: each track in its layout, and in stereo beside 5.1 where the profile names no layout."""
    wished, tracks, demuxer = profile.audio or Audio(), source.audio, source.video.demuxer
    own = plan_audio(tracks, demuxer, profile, MUXER)
    chosen = own.tracks
    if wished.channels is UNSET and any(track.channels > 2 for track in own.tracks):
        stereo = structs.replace(profile, audio=structs.replace(wished, channels="stereo", bitrate=UNSET))
        mixed = plan_audio(tracks, demuxer, stereo, MUXER).tracks
        pairs = zip(mixed, own.tracks, strict=True)
        chosen = tuple(track for two, full in pairs for track in ((two, full) if full.channels > 2 else (full,)))
    used = {stream for track in chosen for stream in track.streams}
    starts = [track.start for track in tracks if track.stream in used and track.start is not None]
    late = source.lateness(min(starts, default=None))
    return AudioPlan(tuple(_as_long(track, seconds, late) for track in chosen), own.notices)


def _as_long(track: AudioOutput, seconds: Fraction, late: float) -> AudioOutput:
    """The track from second 0, which is `late` before its first sample, with silence up to `seconds` or cut there."""
    samples = round(seconds * track.rate)
    first, *others, last = track.filters
    end = (last, f"apad=whole_len={samples}", f"atrim=end_sample={samples}")
    shift = (f"asetpts=PTS+{late:.6f}/TB",) if late else ()
    return track._replace(filters=(*shift, f"{first}:first_pts=0", *others, *end))


def common_length(figures: Sequence[RungFigures], ladder: Ladder) -> Fraction:
    """The length of the pictures in seconds. Raises PermanentError `output-invalid` if the rungs differ in it."""
    divisors = [ladder.gop // plan.picture.gop for plan in ladder.rungs]
    counts = [each.frames * divisor for each, divisor in zip(figures, divisors, strict=True)]
    if len(set(counts)) > 1:
        raise PermanentError("output-invalid", f"The rungs show {counts} frames at full rate: they must be one length.")
    return counts[0] / ladder.rate
