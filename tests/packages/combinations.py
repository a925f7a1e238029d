"""Sources of every kind with ladders of every kind, encoded small and packaged by the worker's `pack`."""

import json
import subprocess
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from elasticrecode.media.ladders import rungs
from elasticrecode.media.profiles import Ffmpeg, bits
from elasticrecode.media.profiles import Package as Wanted
from tests.packages.sample import BT709, KEY, KEY_ID, PQ, run
from tests.packaging.ladders import build
from worker.packaging.tracks import Encrypted, Thumbnails, Track

HLG = PQ.replace("smpte2084", "arib-std-b67")
_HDR10 = "hdr10=1:max-cll=1000,400:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
_TONE_MAP = (
    "zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=bt709,tonemap=mobius:desat=0"
    ",zscale=t=bt709:m=bt709:r=tv,format=yuv420p"
)
_SVT_HDR10 = (
    ":mastering-display=G(0.265,0.69)B(0.15,0.06)R(0.68,0.32)WP(0.3127,0.329)L(1000,0.0001):content-light=1000,400"
)
_PARAMS = {
    "libx264": ("avc1", "-x264-params", "scenecut=0:open-gop=0"),
    "libx265": ("hvc1", "-x265-params", "scenecut=0:open-gop=0:log-level=error"),
    "libsvtav1": ("av01", "-svtav1-params", "scd=0"),
}
_PRESETS = {"libx264": "veryfast", "libx265": "ultrafast", "libsvtav1": "12"}


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
    is_hdr: bool = False
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
    Combination("HDR10, H.265", size=_WIDE, filters=PQ, is_hdr=True, package={"ladder": "h265"}, stored=_TEN),
    Combination("HDR10, AV1", size=_WIDE, filters=PQ, is_hdr=True, package={"ladder": "av1"}, stored=_TEN),
    Combination(
        "HLG, H.265", size=_WIDE, filters=HLG, is_hdr=True, package={"ladder": "h265"}, stored=_TEN[:6], rate="50"
    ),
    Combination("mono", sounds=(Speech(channels=1),)),
    Combination("5.1 beside stereo", sounds=(Speech(), Speech(channels=6))),
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
    path = folder / "source.mkv"
    run("ffmpeg", "-v", "error", "-y", *inputs, *outputs, str(path))
    if combination.turned:
        turned = folder / "turned.mp4"
        run(
            "ffmpeg",
            "-v",
            "error",
            "-y",
            "-display_rotation",
            str(combination.turned),
            "-i",
            str(path),
            "-map",
            "0",
            "-c",
            "copy",
            str(turned),
        )
        return turned
    return path


def package(combination: Combination, folder: Path) -> Path:
    """Encode the rungs that the ladder chooses, in one decode, and package them. The folder of the package."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = msgspec.convert(combination.package, Wanted)
    rate = Fraction(combination.rate)
    encodes = rungs(wanted, *combination.size, rate, is_hdr=combination.is_hdr)
    halves = [
        encode.frameRate not in (UNSET, "source") and Fraction(str(encode.frameRate)) < rate for encode in encodes
    ]
    whole = 2 if any(halves) else 1
    gop = round(2 * rate / whole) * whole
    inputs, outputs, tracks = ["-i", str(source(combination, folder))], list[str](), list[Track]()
    for encode, half in zip(encodes, halves, strict=True):
        name = (
            f"{encode.codec}-{encode.scale.replace(':', 'x')}-{encode.bitrate}-{encode.dynamicRange or 'auto'}".lower()
        )
        outputs += [
            "-map",
            "0:v",
            *_rung(combination, encode, rate, gop // (2 if half else 1), half=half),
            str(folder / f"{name}.mp4"),
        ]
        tracks.append(Track(folder / f"{name}.mp4", name, "video"))
    length = _frames(combination) / rate
    for number, sound in enumerate(combination.sounds):
        group = {1: "mono", 2: "stereo", 6: "5.1"}[sound.channels]
        path = folder / f"audio-{sound.language}-{group}.mp4"
        kbit = {1: 64, 2: 128, 6: 320}[sound.channels]
        outputs += ["-map", f"0:a:{number}", "-t", f"{float(length):.6f}", "-c:a", "aac", "-b:a", f"{kbit}k", str(path)]
        label = {"en": "English", "fr": "Français"}[sound.language]
        tracks.append(
            Track(
                path,
                path.stem,
                "audio",
                sound.language,
                label,
                sound.channels,
                is_default=sound.language == "en",
                group=group,
            )
        )
    run("ffmpeg", "-v", "error", "-y", *inputs, *outputs)
    for text in combination.texts:
        language, _, kind = text.partition(" ")
        path = folder / f"subtitles-{text.replace(' ', '-')}.vtt"
        path.write_text(f"WEBVTT\n\n00:01.000 --> 00:03.000\n{text}\n")
        tracks.append(Track(path, path.stem, "text", language, text, is_forced=kind == "forced", is_sdh=kind == "sdh"))
    gop_seconds = gop / rate
    segment = max(1, round(Fraction(wanted.segmentSeconds) / gop_seconds)) * gop_seconds
    safe = wanted.encryption
    encryption = None if safe is UNSET else Encrypted("cbcs", safe.keyUri, KEY, KEY_ID)
    sprites = _sprites(folder, length) if combination.with_sprites else None
    built = build(
        tracks,
        folder / "built",
        formats=wanted.formats,
        segment=segment,
        gop=gop_seconds,
        encryption=encryption,
        thumbnails=sprites,
    )
    return built.root


def _frames(combination: Combination) -> int:
    """How many frames of the constant rate the rungs have."""
    return -(-Fraction(combination.seconds).limit_denominator(1000) * Fraction(combination.rate) // 1)


def _rung(combination: Combination, encode: Ffmpeg, rate: Fraction, gop: int, *, half: bool) -> list[str]:
    """The options of ffmpeg for one rung."""
    tag, option, params = _PARAMS[encode.codec]
    is_hdr = combination.is_hdr and encode.dynamicRange != "sdr"
    filters = [
        f"fps={rate}",
        *(["framestep=2"] if half else []),
        f"scale={encode.scale}:flags=fast_bilinear",
        "setsar=1",
    ]
    depth = "yuv420p10le" if is_hdr or encode.bitDepth == 10 else "yuv420p"
    if combination.is_hdr and not is_hdr:
        filters.append(_TONE_MAP)
    filters += [f"format={depth}", combination.filters.partition(",")[0] if is_hdr else BT709]
    if is_hdr and "smpte2084" in combination.filters:
        params += {
            "libx265": f":{_HDR10}",
            "libsvtav1": _SVT_HDR10,
        }[encode.codec]
    average = bits(str(encode.bitrate))
    limits = [] if encode.codec == "libsvtav1" else ["-maxrate", str(int(average * 1.3)), "-bufsize", str(average)]
    if encode.codec == "libx264":
        limits += ["-profile:v", "high"]
    count = -(-_frames(combination) // (2 if half else 1))
    return [
        *(
            "-vf",
            ",".join(filters),
            "-frames:v",
            str(count),
            "-c:v",
            encode.codec,
            "-preset",
            _PRESETS[encode.codec],
            "-tag:v",
            tag,
        ),
        *("-b:v", str(average), *limits, "-g", str(gop), "-keyint_min", str(gop), option, params),
        *("-video_track_timescale", str(rate.numerator * 1000 if rate.numerator < 1000 else rate.numerator)),
    ]


def _sprites(folder: Path, length: Fraction) -> Thumbnails:
    """Sheets of four pictures, one for each two seconds."""
    count = -(-length // 8)
    run(
        "ffmpeg",
        "-v",
        "error",
        "-y",
        "-f",
        "lavfi",
        "-i",
        f"testsrc2=s=160x90:r=1/2:d={8 * count}",
        "-vf",
        "tile=2x2",
        str(folder / "sheet-%d.jpg"),
    )
    return Thumbnails(tuple(sorted(folder.glob("sheet-*.jpg"))), 160, 90, 2, 2, 2.0)


def read_by_peers(folder: Path) -> dict[str, Any]:
    """What hls-parser and mpd-parser, which players in JavaScript use, read in a package."""
    script = Path(__file__).with_name("peers.cjs")
    done = subprocess.run(["node", str(script), str(folder)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    read: dict[str, Any] = json.loads(done.stdout)
    return read
