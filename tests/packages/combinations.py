"""Sources of every kind with ladders of every kind, made small and packaged by the code of the worker."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.packages.made import make_package
from tests.packages.sample import BT709, KEY, KEY_ID, PQ, run
from worker.packaging.tracks import Encrypted

HLG = PQ.replace("smpte2084", "arib-std-b67")
_HDR10 = "hdr10=1:max-cll=1000,400:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"


class Speech(NamedTuple):
    """A track of sound: language, channels, and seconds that it lasts longer than the pictures."""

    language: str = "en"
    channels: int = 2
    longer: float = 0


class Combination(NamedTuple):
    """A source as it is shown, and the package wanted of it, with fields as in a request."""

    name: str
    size: tuple[int, int] = (640, 360)
    rate: str = "25"
    seconds: float = 8
    package: Mapping[str, Any] = {"ladder": "h264"}
    sounds: tuple[Speech, ...] = (Speech(),)
    texts: tuple[str, ...] = ()
    filters: str = BT709
    stored: tuple[str, ...] = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
    turned: int = 0
    """Degrees by which a display matrix turns the stored picture."""
    with_sprites: bool = False


_OWN = {"ladder": [{"scale": "540p", "bitrate": "500K"}, {"scale": "240p", "bitrate": "200K", "codec": "h265"}]}
_SAFE = {"encryption": {"scheme": "cbcs", "keyUri": "https://keys.example/1", "key": KEY.hex(), "keyId": KEY_ID.hex()}}
_TEN = (
    "-c:v",
    "libx265",
    "-preset",
    "ultrafast",
    "-pix_fmt",
    "yuv420p10le",
    "-x265-params",
    f"{_HDR10}:log-level=error",
)
_WIDE = (768, 432)
COMBINATIONS = [
    *(
        Combination(f"{rate} Hz", rate=rate)
        for rate in ("24000/1001", "24", "25", "30000/1001", "30", "50", "60000/1001", "60")
    ),
    Combination("rate that varies", rate="30", filters=f"{BT709},select=not(eq(mod(n\\,7)\\,3))"),
    Combination("portrait", size=(360, 640), package={"ladder": "h264"}),
    Combination("square", size=(360, 360)),
    Combination("4:3", size=(768, 576), package={"ladder": "h265"}),
    Combination("odd sides", size=(641, 361), stored=("-c:v", "ffv1", "-pix_fmt", "yuv444p")),
    Combination("turned", size=(360, 640), turned=90),
    Combination("HDR10, H.265", size=_WIDE, seconds=4, filters=PQ, package={"ladder": "h265"}, stored=_TEN),
    Combination("HDR10, AV1", size=_WIDE, filters=PQ, package={"ladder": "av1"}, stored=_TEN),
    Combination("HLG, H.265", size=_WIDE, filters=HLG, package={"ladder": "h265"}, stored=_TEN[:6], rate="50"),
    Combination("mono", sounds=(Speech(channels=1),)),
    Combination("5.1 beside stereo", sounds=(Speech(channels=6),)),
    Combination("two languages", size=_WIDE, sounds=(Speech(), Speech("fr")), package={"ladder": "h265"}),
    Combination("no sound", sounds=()),
    Combination(
        "subtitles, forced and for the deaf", texts=("en", "en forced", "en sdh", "fr"), sounds=(Speech(), Speech("fr"))
    ),
    Combination("very short", seconds=0.8),
    Combination("sound longer than pictures", sounds=(Speech(longer=3),)),
    Combination("sound shorter than a segment's end", seconds=13.3, rate="30000/1001"),
    Combination("AV1", size=_WIDE, package={"ladder": "av1"}),
    Combination("AV1 at 60 Hz", size=_WIDE, package={"ladder": "av1"}, rate="60"),
    Combination("H.265 at 59.94 Hz", size=_WIDE, package={"ladder": "h265"}, rate="60000/1001"),
    Combination("own ladder", package=_OWN),
    Combination("encrypted H.264", package={"ladder": "h264", **_SAFE}, sounds=(Speech(), Speech("fr"))),
    Combination("encrypted H.265", size=_WIDE, package={"ladder": "h265", **_SAFE}),
    Combination("encrypted AV1", size=_WIDE, package={"ladder": "av1", **_SAFE}),
    Combination("segments of 4 s", package={"ladder": "h264", "segmentSeconds": 4}),
    Combination("sprites", with_sprites=True),
]


def source(combination: Combination, folder: Path) -> Path:
    """Write the source of a combination."""
    wide, high = combination.size[::-1] if combination.turned else combination.size
    inputs = ["-f", "lavfi", "-i", f"testsrc2=s={wide}x{high}:r={combination.rate}:d={combination.seconds}"]
    outputs = ["-map", "0:v", "-vf", combination.filters, "-fps_mode", "passthrough", *combination.stored]
    for number, sound in enumerate(combination.sounds):
        length = combination.seconds + sound.longer
        inputs += ["-f", "lavfi", "-i", f"sine=f={330 * (number + 1)}:r=48000:d={length}"]
        outputs += ["-map", f"{number + 1}:a", "-c:a", "aac", f"-ac:a:{number}", str(sound.channels)]
        outputs += [f"-metadata:s:a:{number}", f"language={sound.language}"]
    for number, text in enumerate(combination.texts):
        language, _, kind = text.partition(" ")
        path = folder / f"{number}.srt"
        path.write_text(f"1\n00:00:01,000 --> 00:00:03,000\n{text}\n")
        inputs += ["-i", str(path)]
        outputs += [
            "-map",
            f"{len(combination.sounds) + 1 + number}:s",
            f"-metadata:s:s:{number}",
            f"language={language}",
        ]
        outputs += [f"-disposition:s:{number}", {"forced": "forced", "sdh": "hearing_impaired"}.get(kind, "0")]
    path = folder / "source.mkv"
    run("ffmpeg", "-v", "error", "-y", *inputs, *outputs, str(path))
    if not combination.turned:
        return path
    turned = folder / "turned.mp4"
    rotation = ("-display_rotation", str(combination.turned))
    run("ffmpeg", "-v", "error", "-y", *rotation, "-i", str(path), "-map", "0", "-c", "copy", str(turned))
    return turned


def package(combination: Combination, folder: Path) -> Path:
    """Make a package of the combination's source as a worker does. The folder of the package."""
    profile: dict[str, Any] = {"package": {"speed": "fast", **combination.package}}
    if len(combination.sounds) > 1:
        profile["audio"] = {"tracks": "all"}
    if combination.texts:
        profile["subtitles"] = {"tracks": "all"}
    if combination.with_sprites:
        profile["images"] = {"sprite": {"everySeconds": 2, "width": 160}}
    safe = combination.package.get("encryption")
    encryption = Encrypted(safe["scheme"], safe["keyUri"], KEY, KEY_ID) if safe else None
    return make_package(source(combination, folder), profile, folder, encryption).folder


def read_by_peers(folder: Path) -> dict[str, Any]:
    """What hls-parser and mpd-parser, which players in JavaScript use, read in a package."""
    script = Path(__file__).with_name("peers.cjs")
    done = subprocess.run(["node", str(script), str(folder)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    read: dict[str, Any] = json.loads(done.stdout)
    return read
