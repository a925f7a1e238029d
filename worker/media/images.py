"""Pictures beside a film: a poster, and sprites with the WebVTT file that maps times to their parts.

The transcode's own run takes frames from the film's pictures before the conversion to the output's signal: so they are
SDR even where the output keeps HDR, and without burnt-in subtitles. It writes 16 candidates for the poster, and one
thumbnail a step. When it has ended, the poster is chosen, and the thumbnails are put together.
"""

import math
from collections.abc import Sequence
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
_THUMBS = "thumbs.mkv"


class ImagePlan(NamedTuple):
    """The pictures beside a film. `spacing` is the seconds between candidates for the poster, 0 for no poster.

    `step` is the seconds from one picture of a sprite to the next, 0 for no sprites; `size` is their size.
    """

    spacing: float = 0.0
    step: float = 0.0
    size: Raster = Raster(0, 0)
    notices: tuple[Notice, ...] = ()

    @property
    def branches(self) -> int:
        """How many branches of the filter graph the pictures take."""
        return (self.spacing > 0) + (self.step > 0)


def plan_images(images: Images | None, film: Raster, seconds: float | None) -> ImagePlan:
    """The pictures beside an output of a size, which lasts so many seconds; None for unknown."""
    if not images:
        return ImagePlan()
    spacing = (seconds / _CANDIDATES if seconds else _CANDIDATE_SECONDS) if images.poster else 0.0
    if not images.sprite:
        return ImagePlan(spacing)
    width = images.sprite.width // 2 * 2
    size = Raster(width, min(_SIDE, max(2, round(width * film.height / film.width / 2) * 2)))
    step, notices = images.sprite.everySeconds, []
    if seconds and seconds / step > _most(size):
        wanted, step = step, math.ceil(seconds / _most(size))
        message = f"The sprites have a picture every {step} s, not every {wanted:g} s: {_SHEETS} of them hold no more."
        notices.append(Notice("sprites-coarser", message))
    return ImagePlan(spacing, step, size, tuple(notices))


def _most(size: Raster) -> int:
    """The most pictures of a size that the sprites of a film hold."""
    return _SHEETS * (_SIDE // size.width) * (_SIDE // size.height)


def graph(plan: ImagePlan, pads: Sequence[str], convert: Sequence[str], signal: Signal) -> list[str]:
    """The branches of the filter graph from `pads` to [poster], the candidates, and [thumbs], the thumbnails.

    `convert` turns the film's pictures into SDR of a signal. JPEG means full range, and the matrix of BT.601.
    """
    matrix = f"in_color_matrix={signal.matrix.removesuffix('nc')}:out_color_matrix=bt601"
    jpeg = f"in_range={signal.range}:out_range=pc:{matrix}"
    branches, left = [], list(pads)
    if plan.spacing:
        select = f"select='isnan(prev_selected_t)+gte(t-prev_selected_t\\,{plan.spacing:.6f})'"
        branches.append(f"{left.pop()}{','.join((select, *convert, f'scale={jpeg},format=yuvj420p'))}[poster]")
    if plan.step:
        # Picture n shows what the film shows at n steps.
        steps = f"fps=1/{plan.step:.6f}:start_time=0:round=up"
        scaled = f"scale={plan.size.width}:{plan.size.height}:flags=area:{jpeg}"
        branches.append(f"{left.pop()}{','.join((steps, *convert, scaled, 'format=yuvj420p'))}[thumbs]")
    return branches


def outputs(plan: ImagePlan) -> list[str]:
    """Options of ffmpeg for the files that the branches are written to, in the job's folder."""
    clock = ("-fps_mode", "passthrough")
    candidates = ("-map", "[poster]", *clock, "-c:v", "mjpeg", "-q:v", "2", "-frames:v", str(_CANDIDATES))
    thumbs = ("-map", "[thumbs]", *clock, "-c:v", "ffv1", "-frames:v", str(_most(plan.size)) if plan.step else "0")
    return [
        *((*candidates, "-f", "image2", "file:poster-%02d.jpg") if plan.spacing else ()),
        *((*thumbs, "-f", "matroska", f"file:{_THUMBS}") if plan.step else ()),
    ]


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
    # A film whose last frame is short of the end lacks thumbnails: the last one is repeated.
    filters = f"tpad=stop_mode=clone:stop={count},trim=end_frame={count},tile={columns}x{rows}"
    log = folder / "sprites.log"
    command = [
        *(ffmpeg, "-hide_banner", "-nostdin", "-y", "-loglevel", "warning", *input_options(runner.limits)),
        *("-f", "matroska", "-i", f"file:{_THUMBS}", "-vf", filters, "-fps_mode", "passthrough"),
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
