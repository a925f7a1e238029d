"""Pictures beside a film: a poster, and sprites with the WebVTT file that maps times to their parts.

The transcode's own run takes frames from the film's pictures before the conversion to the output's signal: so they are
SDR even where the output keeps HDR, and without burnt-in subtitles. It writes 16 candidates for the poster, and one
thumbnail a step. When it has ended, the poster is chosen, and the thumbnails are put together.

Candidate n shows what the film shows at n spacings, and thumbnail n what it shows at n steps. So each chunk of a
divided film takes those that lie in it, and together they are those of the undivided film.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from elasticrecode.jobs.events import Notice, Output, Role
from elasticrecode.jobs.uris import poster_name, sprite_name, thumbnails_name
from elasticrecode.media.profiles import Images
from worker.media.colour import Signal
from worker.media.demuxers import input_options
from worker.media.ffmpeg_errors import encoder_error
from worker.media.geometry import Raster
from worker.sandbox.runner import Runner, last_lines

_CANDIDATES = 16
_CANDIDATE_SECONDS = 5.0
"""Seconds between candidates for the poster where the film's length is unknown."""
_SHEETS = 20
"""The most sprites of one film. They are committed in one transaction, which has room for about 45 outputs."""
_PICTURES = 100
"""Pictures of a sprite, unless that would take more than _SHEETS."""
_SIDE = 8000
"""The longest side of a sprite in pixels, which browsers and JPEG take."""
_SECONDS = 600
_LEAST_SPACING = 0.001
_FOREVER = 1_000_000
"""Seconds that no film lasts."""
THUMBS = "thumbs.mkv"
_CLOCK = ("-fps_mode", "passthrough")


class ImagePlan(NamedTuple):
    """The pictures beside a film. `spacing` is the seconds between candidates for the poster, 0 for no poster.

    `step` is the seconds from one picture of a sprite to the next, 0 for no sprites; `size` is their size.
    `candidates` and `thumbs` have the numbers of the pictures that a run takes, which ends at second `end` of the film.
    """

    spacing: float = 0.0
    step: float = 0.0
    size: Raster = Raster(0, 0)
    notices: tuple[Notice, ...] = ()
    candidates: range = range(_CANDIDATES)
    thumbs: range = range(0)
    end: Fraction | None = None

    @property
    def has_candidates(self) -> bool:
        """Whether a run takes candidates for the poster."""
        return self.spacing > 0 and len(self.candidates) > 0

    @property
    def has_thumbs(self) -> bool:
        """Whether a run takes thumbnails."""
        return self.step > 0 and len(self.thumbs) > 0

    @property
    def branches(self) -> int:
        """How many branches of the filter graph the pictures take."""
        return self.has_candidates + self.has_thumbs

    def of_chunk(self, start: Fraction, end: Fraction | None) -> "ImagePlan":
        """The pictures of a film that lie in a chunk, from `start` to `end` in seconds of the output; None is its end.

        Their branches take frames with the times of the whole film, from the one that it shows at `start`, or before.
        """
        candidates = _within(start, end, self.spacing, len(self.candidates))
        return self._replace(candidates=candidates, thumbs=_within(start, end, self.step, len(self.thumbs)), end=end)


def _within(start: Fraction, end: Fraction | None, step: float, count: int) -> range:
    """The numbers of those of the first `count` multiples of `step` seconds that lie between two times."""
    if not step:
        return range(0)
    rate = 1 / Fraction(f"{step:.6f}")
    stop = count if end is None else min(count, math.ceil(end * rate))
    return range(min(stop, math.ceil(start * rate)), stop)


def plan_images(images: Images | None, film: Raster, seconds: float | None) -> ImagePlan:
    """The pictures beside an output of a size, which lasts so many seconds; None for unknown."""
    if not images:
        return ImagePlan()
    wide = max(_LEAST_SPACING, seconds / _CANDIDATES) if seconds else _CANDIDATE_SECONDS
    spacing = wide if images.poster else 0.0
    if not images.sprite:
        return ImagePlan(spacing)
    width = images.sprite.width // 2 * 2
    size = Raster(width, min(_SIDE, max(2, round(width * film.height / film.width / 2) * 2)))
    step, notices = images.sprite.everySeconds, []
    if seconds and seconds / step > _most(size):
        wanted, step = step, math.ceil(seconds / _most(size))
        message = f"The sprites have a picture every {step} s, not every {wanted:g} s: {_SHEETS} of them hold no more."
        notices.append(Notice("sprites-coarser", message))
    return ImagePlan(spacing, step, size, tuple(notices), thumbs=range(_most(size)))


def _most(size: Raster) -> int:
    """The most pictures of a size that the sprites of a film hold."""
    return _SHEETS * (_SIDE // size.width) * (_SIDE // size.height)


def graph(plan: ImagePlan, pads: Sequence[str], convert: Sequence[str], signal: Signal) -> list[str]:
    """The branches of the filter graph from `pads` to [poster], the candidates, and [thumbs], the thumbnails.

    `convert` turns the film's pictures into SDR of a signal. JPEG means full range, and the matrix of BT.601.
    """
    matrix = f"in_color_matrix={signal.matrix.removesuffix('nc')}:out_color_matrix=bt601"
    jpeg = f"in_range={signal.range}:out_range=pc:{matrix}"
    chains, left = list[str](), list(pads)
    if plan.has_candidates:
        shown = _shown(left.pop(), plan.spacing, plan.candidates, plan.end)
        chains += [*shown[:-1], f"{shown[-1]},{','.join((*convert, f'scale={jpeg},format=yuvj420p'))}[poster]"]
    if plan.has_thumbs:
        scaled = f"scale={plan.size.width}:{plan.size.height}:flags=area:{jpeg}"
        shown = _shown(left.pop(), plan.step, plan.thumbs, plan.end)
        chains += [*shown[:-1], f"{shown[-1]},{','.join((*convert, scaled, 'format=yuvj420p'))}[thumbs]"]
    return chains


def _shown(pad: str, step: float, numbers: range, end: Fraction | None) -> list[str]:
    """Chains of filters from a pad to the pictures of these numbers, each the one that the film shows at n steps.

    The last chain has no output yet. Where the film has a gap, its frames to second `end` may end before the last of
    these pictures: those show the last frame. Without an `end`, that frame is one picture more.
    """
    name, count = pad.strip("[]"), len(numbers)
    to = "" if end is None else f"trim=end={math.ceil(end * 1_000_000) / 1_000_000:.6f},"
    fill = "" if end is None else f",tpad=stop_mode=clone:stop={count},trim=end_frame={count},setpts=N"
    bounds = f"start_pts={numbers.start}" + ("" if end is None else f":end_pts={numbers.stop}")
    return [
        f"{pad}{to}split[{name}.all][{name}.end]",
        f"[{name}.all]fps=1/{step:.6f}:start_time=0:round=up,trim={bounds}[{name}.some]",
        f"[{name}.end]fps=1/{_FOREVER}:start_time=0:round=down:eof_action=pass[{name}.last]",
        f"[{name}.some][{name}.last]concat,settb=1,setpts=N{fill}",
    ]


def outputs(plan: ImagePlan) -> list[str]:
    """Options of ffmpeg for the files that the branches are written to, in the job's folder."""
    number = ("-start_number", str(plan.candidates.start + 1), "-frames:v", str(len(plan.candidates)))
    candidates = ("-map", "[poster]", *_CLOCK, "-c:v", "mjpeg", "-q:v", "2", *number)
    thumbs = ("-map", "[thumbs]", *_CLOCK, "-c:v", "ffv1", "-frames:v", str(len(plan.thumbs)))
    return [
        *((*candidates, "-f", "image2", "file:poster-%02d.jpg") if plan.has_candidates else ()),
        *((*thumbs, "-f", "matroska", f"file:{THUMBS}") if plan.has_thumbs else ()),
    ]


def chunk_files(plan: ImagePlan, folder: Path) -> list[Path]:
    """The files that the run of a chunk has written: candidates for the poster, and the thumbnails."""
    thumbs = folder / THUMBS
    return [*sorted(folder.glob("poster-*.jpg")), *([thumbs] if plan.has_thumbs and thumbs.exists() else ())]


def join_thumbs(files: Sequence[Path], folder: Path, ffmpeg: str, runner: Runner) -> None:
    """Join the thumbnails of a film's chunks, in order, into the file that `finish` reads. They lie in `folder`.

    Raises PermanentError if ffmpeg fails; else as `Runner.run`.
    """
    listed, log = folder / "thumbs.txt", folder / "thumbs.log"
    listed.write_text("".join(f"file '{file.name}'\n" for file in files), encoding="ascii")
    command = [
        *(ffmpeg, "-hide_banner", "-nostdin", "-y", "-loglevel", "warning", *input_options(runner.limits)),
        *("-format_whitelist", "concat,matroska", "-f", "concat", "-i", f"file:{listed.name}"),
        *("-vf", "settb=1,setpts=N", *_CLOCK, "-c:v", "ffv1", "-f", "matroska", f"file:{THUMBS}"),
    ]
    status = runner.run(command, folder, log, seconds=_SECONDS)
    if status:
        raise encoder_error(last_lines(log, folder), status)


class Stills(NamedTuple):
    """The finished pictures: files in the job's folder, and the sprites' grid."""

    plan: ImagePlan = ImagePlan()
    seconds: float = 0.0
    size: Raster = Raster(0, 0)
    poster: Path | None = None
    sprites: tuple[Path, ...] = ()
    columns: int = 0
    rows: int = 0

    @property
    def pictures(self) -> int:
        """Pictures in all sprites."""
        return _pictures(self.plan, self.seconds)


def finish(plan: ImagePlan, film: Raster, seconds: float, folder: Path, ffmpeg: str, runner: Runner) -> Stills:
    """Choose the poster and put the sprites together, for an output that lasts so many seconds.

    Raises PermanentError if ffmpeg fails; else as `Runner.run`.
    """
    stills = Stills(plan, seconds, film)
    if plan.spacing:
        # Black, blurred and faded pictures make small files.
        candidates = sorted(folder.glob("poster-*.jpg"))
        stills = stills._replace(poster=max(candidates, key=lambda path: path.stat().st_size, default=None))
    if not plan.step:
        return stills
    count = stills.pictures
    columns, rows = _grid(count, plan.size)
    # A film whose last frame is short of the end lacks thumbnails: the last frame is repeated.
    filters = f"tpad=stop_mode=clone:stop={count},trim=end_frame={count},tile={columns}x{rows}"
    log = folder / "sprites.log"
    command = [
        *(ffmpeg, "-hide_banner", "-nostdin", "-y", "-loglevel", "warning", *input_options(runner.limits)),
        *("-f", "matroska", "-i", f"file:{THUMBS}", "-vf", filters, "-fps_mode", "passthrough"),
        *("-c:v", "mjpeg", "-q:v", "4", "-f", "image2", "-start_number", "0", "file:sprite-%d.jpg"),
    ]
    status = runner.run(command, folder, log, seconds=_SECONDS)
    if status:
        raise encoder_error(last_lines(log, folder), status)
    sheets = tuple(folder / f"sprite-{number}.jpg" for number in range(math.ceil(count / (columns * rows))))
    return stills._replace(sprites=sheets, columns=columns, rows=rows)


def _pictures(plan: ImagePlan, seconds: float) -> int:
    return min(_most(plan.size), max(1, math.ceil(seconds / plan.step - 1e-3))) if plan.step else 0


def _grid(count: int, size: Raster) -> tuple[int, int]:
    """Columns and rows of a sprite."""
    pictures = min(count, max(_PICTURES, math.ceil(count / _SHEETS)))
    columns = max(math.ceil(math.sqrt(pictures)), math.ceil(pictures / (_SIDE // size.height)))
    columns = min(columns, _SIDE // size.width)
    return columns, min(math.ceil(pictures / columns), _SIDE // size.height)


def published(stills: Stills, source: str, prefix: str, folder: Path) -> list[tuple[Path, Output]]:
    """The pictures of a job with the input `source`, as outputs below `prefix`. Writes the sprites' WebVTT file."""
    files = []
    if stills.poster:
        files.append((stills.poster, _output(stills.poster, prefix + poster_name(source), "poster", stills.size)))
    sheet = Raster(stills.columns * stills.plan.size.width, stills.rows * stills.plan.size.height)
    for number, path in enumerate(stills.sprites):
        files.append((path, _output(path, prefix + sprite_name(source, number), "sprite", sheet)))
    if stills.sprites:
        cues = folder / "thumbnails.vtt"
        cues.write_text(webvtt(stills, source), encoding="utf-8")
        uri = prefix + thumbnails_name(source)
        files.append((cues, Output(uri=uri, bytes=cues.stat().st_size, role="sprite")))
    return files


def _output(path: Path, uri: str, role: Role, size: Raster) -> Output:
    return Output(uri=uri, bytes=path.stat().st_size, role=role, width=size.width, height=size.height)


def webvtt(stills: Stills, source: str) -> str:
    """The WebVTT file that maps each step of the film to a part of a sprite."""
    plan, parts = stills.plan, ["WEBVTT\n"]
    for number in range(stills.pictures):
        sheet, place = divmod(number, stills.columns * stills.rows)
        row, column = divmod(place, stills.columns)
        start, end = number * plan.step, min((number + 1) * plan.step, max(stills.seconds, number * plan.step + 0.001))
        end = stills.seconds if number == stills.pictures - 1 and stills.seconds > start else end
        area = f"{column * plan.size.width},{row * plan.size.height},{plan.size.width},{plan.size.height}"
        parts.append(f"{_clock(start)} --> {_clock(end)}\n{quote(sprite_name(source, sheet))}#xywh={area}\n")
    return "\n".join(parts)


def _clock(seconds: float) -> str:
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"
