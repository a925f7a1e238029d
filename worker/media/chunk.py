"""One chunk of a film, from its cut to encoded files: the steps of the undivided encode, and those of `pieces`."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from elasticrecode.jobs.events import Progress
from elasticrecode.media.codecs import encoder_of
from elasticrecode.media.profiles import Ffmpeg, Profile
from worker.media import colour, damage, encoders, images, ladder, rates, silence, tally, timing
from worker.media.audio import AudioPlan
from worker.media.demuxers import input_options
from worker.media.ffmpeg_errors import encoder_error, grave, limit_error
from worker.media.hdr import HdrMetadata
from worker.media.images import ImagePlan
from worker.media.ladder import Ladder
from worker.media.packets import TrackMeter
from worker.media.pieces import Piece
from worker.media.plan import Plan, make_plan
from worker.media.probe import read_level
from worker.media.progress import Ticker
from worker.media.rates import Tail
from worker.media.source import Source
from worker.media.steps import Step
from worker.media.subtitles import SubtitlePlan
from worker.media.verify import is_empty, read_back
from worker.sandbox.limits import JobLimits
from worker.sandbox.machine import cores
from worker.sandbox.runner import Runner, last_lines
from worker.settings import Settings

MUXER = "mp4"
_UNKNOWN_RATE = 30.0
_LEVEL_SECONDS = 60


class ChunkFigures(Struct, kw_only=True):
    """What was measured of an output of a chunk. Of the source, `lost` frames did not decode, `marred` in part."""

    frames: int
    bytes: int
    cpuSeconds: float
    lost: int = 0
    marred: int = 0


class Target(NamedTuple):
    """An output of a chunk's encode: its plan, the ticks of a second in its file, and the file.

    Of several outputs of one graph, ffmpeg gives only the first one's encoder the metadata of the source: `light` is
    what the others write. `late` are the seconds from the start of the chunk to its first picture. `tail` ends
    it. `varies` says that its quality is not that of all chunks.
    """

    plan: Plan
    ticks: int
    file: Path
    light: HdrMetadata = HdrMetadata()
    late: float = 0.0
    tail: Tail = Tail((), ())
    varies: bool = False
    level: str = ""

    @property
    def tailed(self) -> Plan:
        """The plan with the pictures that follow the chunk into the encoder."""
        picture = self.plan.picture
        return self.plan._replace(picture=picture._replace(conversion=(*picture.conversion, Step(self.tail.filters))))


def target_of_file(source: Source, profile: Profile, encode: Ffmpeg, piece: Piece, file: Path) -> Target:
    """The pictures of a chunk of a film's one output file. Raises as `make_plan`."""
    ticks, wanted = timing.ticks(source.video, encode), timing.wanted_rate(encode)
    units = wanted or Fraction(ticks)
    span = piece.span(units, is_paced=bool(wanted))
    plan = make_plan(source, profile, encode, MUXER, span=span)
    plan = plan._replace(audio=AudioPlan(), images=ImagePlan(), subtitles=SubtitlePlan())
    tail = _tail(piece, units, ticks, encode)
    if piece.chunk.end is None:
        tail = Tail((), timing.last_frame_options(source.video, encode))
    return Target(plan, ticks, file, late=piece.late(units), tail=tail)


def targets_of_ladder(planned: Ladder, piece: Piece, files: Mapping[int, Path]) -> dict[int, Target]:
    """The outputs of a chunk's rungs, each with its file; `files` has the rungs that are to be encoded."""
    light, ticks = planned.source.video.metadata, planned.ticks
    tails = [_tail(piece, planned.rate, ticks, plan.picture.encode) for plan in planned.rungs]
    if piece.chunk.end is None:
        tails = [Tail((), planned.frame_options(plan)) for plan in planned.rungs]
    return {n: Target(planned.rungs[n], ticks, file, light, tail=tails[n]) for n, file in files.items()}


def level_of(plan: Plan, settings: Settings, runner: Runner, folder: Path) -> str:
    """The level that an encoder writes for a whole film with this plan, such as `3.1`; empty where it tells none.

    Chunks have less of the buffer and of the rate, and would get a lower one, or several. Raises as `Runner.run`.
    """
    picture, file, log = plan.picture, folder / "level.mp4", folder / "level.log"
    size, rate = picture.size, picture.rate or _UNKNOWN_RATE
    options = encoders.encoder_options(picture.encode, picture.signal, picture.rate, MUXER, 0, picture.gop)
    command = [
        *(settings.ffmpeg, "-hide_banner", "-nostdin", "-y", "-v", "error", "-f", "lavfi"),
        *("-i", f"color=size={size.width}x{size.height}:rate={rate:.6f}", "-frames:v", "2"),
        *("-vf", f"format={picture.signal.pixel_format}", *options, "-f", MUXER, f"file:{file}"),
    ]
    if status := runner.run(command, folder, log, seconds=_LEVEL_SECONDS):
        raise encoder_error(last_lines(log, folder), status)
    level = read_level(settings.ffprobe, runner, file)
    file.unlink()
    scale = {"h264": 10, "hevc": 30}.get(encoder_of(picture.encode.codec)[0].stream)
    return f"{level / scale:.1f}" if scale and level > 0 else ""


def _tail(piece: Piece, units: Fraction, ticks: int, encode: Ffmpeg) -> Tail:
    """The tail of a chunk, but for the film's last one, and SVT-AV1, which looks no further than a keyframe."""
    begin, end = piece.bounds(units)
    is_needed = end is not None and end > begin and encoder_of(encode.codec)[0].stream != "av1"
    return rates.tail((end or 0) - begin, units, ticks) if is_needed else Tail((), ())


def encode_chunk(
    targets: Mapping[int, Target],
    cut: Path,
    seconds: float,
    settings: Settings,
    runner: Runner,
    report: Callable[[Progress], None],
    stills: ImagePlan = ImagePlan(),  # noqa: B008
    *,
    fitted: bool = False,
) -> dict[int, ChunkFigures]:
    """Encode the chunk of `seconds` in the file `cut` into each target, in one decode.

    The targets are those of one film: the one file, or rungs of a ladder. Their plans have the cut as source. A chunk
    in which the film shows no new frame has none. `stills` are the pictures beside the film that lie in the chunk,
    `fitted` where the film is one file. Raises JobError or Interrupted.
    """
    plans = {number: target.plan for number, target in targets.items()}
    first = next(iter(plans.values()))
    before, log, folder = runner.cpu_seconds, cut.with_name("encode.log"), cut.parent
    for plan in plans.values():
        plan.picture.write_files(folder)
    rate = first.picture.rate or first.source.video.rate
    command = arguments(targets, cut, runner.limits, cores(), stills, fitted=fitted)
    status = runner.run(
        [settings.ffmpeg, *command],
        folder,
        log,
        seconds=runner.limits.timeout_seconds(seconds),
        on_line=Ticker(round(seconds * rate) or None, seconds, report),
        step="chunk",
    )
    lines = last_lines(log, folder)
    if error := limit_error(runner.limits, "input", grave(lines)):
        raise error
    pictures = tally.decoded(lines).get((0, first.source.video.stream))
    if status and not silence.excusable(status, pictures):
        raise encoder_error(grave(lines), status)
    spent = runner.cpu_seconds - before
    marred = damage.incomplete(grave(lines))
    figures = {}
    sizes = {number: plan.picture.size.width * plan.picture.size.height for number, plan in plans.items()}
    for number, target in targets.items():
        film = TrackMeter()
        if not is_empty(lines):
            read, measured = read_back(settings, runner, target.file, target.plan, lines)
            film = measured.tracks[read.video.stream]
        is_damaged = film.frames and damage.signs(grave(lines))
        edges = (film.start, seconds - film.start - film.seconds) if is_damaged else ()
        holes = sum(edge for edge in edges if edge > 1.5 / (rate or 25.0))
        holes += sum(length for _, length in film.gaps()) if is_damaged else 0.0
        figures[number] = ChunkFigures(
            frames=film.frames,
            bytes=film.bytes,
            cpuSeconds=round(spent * sizes[number] / sum(sizes.values()), 2),
            lost=max(pictures.errors if pictures else 0, round(rate * holes)),
            marred=marred,
        )
    return figures


def arguments(
    targets: Mapping[int, Target],
    cut: Path,
    limits: JobLimits,
    threads: int,
    stills: ImagePlan = ImagePlan(),  # noqa: B008
    *,
    fitted: bool = False,
) -> list[str]:
    """Arguments of ffmpeg for the encode of a chunk, without the program's name."""
    video = next(iter(targets.values())).plan.source.video
    graph = ladder.graph({n: target.tailed for n, target in targets.items()}, stills, video.stream, fitted=fitted)
    return [
        *("-hide_banner", "-nostdin", "-y", "-loglevel", "level+verbose", "-nostats", "-progress", "pipe:1"),
        *("-max_error_rate", "1", "-copyts", *colour.decoder(video), *input_options(limits)),
        *("-noautorotate", "-reinit_filter:v", "0", "-f", video.demuxer, "-i", f"file:{cut}"),
        *("-filter_complex", graph),
        *(word for number, target in targets.items() for word in _output(number, target, threads)),
        *images.outputs(stills),
    ]


def _output(number: int, target: Target, threads: int) -> list[str]:
    picture = target.plan.picture
    options = encoders.encoder_options(
        *(picture.encode, picture.signal, picture.rate, MUXER, threads, picture.gop),
        light=target.light,
        late=target.late,
        varies=target.varies,
        level=target.level,
    )
    return [
        *("-map", f"[rung{number}]", "-dn", "-map_metadata", "-1", "-map_chapters", "-1", *options),
        *("-fps_mode:v", "passthrough", "-enc_time_base:v", f"1/{target.ticks}"),
        *("-video_track_timescale", str(target.ticks), "-movie_timescale", str(target.ticks), "-write_tmcd", "0"),
        *(*target.tail.options, "-f", MUXER, f"file:{target.file}"),
    ]
