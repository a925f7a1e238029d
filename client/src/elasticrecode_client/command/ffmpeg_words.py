"""Options in ffmpeg's own words, such as `-c:v libx265 -b:v 3M -vf scale=-2:720`, as a profile. Pure.

`split` takes them out of a command line, and `translate` makes the profile. What a profile cannot say comes back as
faults, all at once, each with its flag, the reason, and the nearest thing that works.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from elasticrecode_client.command import ffmpeg_values as values
from elasticrecode_client.command.ffmpeg_options import READERS
from elasticrecode_client.command.ffmpeg_reading import Flag, Reading, WordFault
from elasticrecode_client.command.ffmpeg_tables import ALIASES, ALWAYS, BENEATH, CRFS, FLAGS, NOT_HERE
from elasticrecode_client.command.ffmpeg_values import Unsayable

_STREAM = re.compile(r":\d+$")


class Translation(NamedTuple):
    """What options mean: the profile, the inputs of `-i`, what cannot be said, and notes on what differs a little."""

    profile: dict[str, Any]
    inputs: list[str]
    faults: list[WordFault]
    notes: list[str]


def split(arguments: Sequence[str]) -> tuple[list[Flag], list[str]]:
    """The ffmpeg options of a command line, and its other arguments. Options with two dashes are never ffmpeg's."""
    flags, others = list[Flag](), list[str]()
    rest = list(arguments)
    is_early = "-i" in rest
    while rest:
        word = rest.pop(0)
        if word == "--":
            return flags, [*others, word, *rest]
        if not re.match(r"-[a-zA-Z]", word) or word == "-h":
            others.append(word)
            continue
        has_value = canonical(word) not in FLAGS
        flags.append(Flag(word, (rest.pop(0) if rest else "") if has_value else None, is_early))
        is_early = is_early and word != "-i"
    return flags, others


def canonical(name: str) -> str:
    """The name of an option as the tables have it: `-vcodec` and `-codec:v:0` are `-c:v`."""
    plain = _STREAM.sub("", name)
    if plain in READERS or plain in ALIASES:
        return ALIASES.get(plain, plain)
    plain = plain.removesuffix(":v")
    return ALIASES.get(plain, plain)


def translate(flags: Iterable[Flag], *, whole: bool = True) -> Translation:
    """The profile that ffmpeg's options ask for. Without options it is empty.

    A `whole` one has all that an encode needs, as `complete` fills it in.
    """
    reading = Reading()
    for flag in flags:
        try:
            _read(reading, canonical(flag.name), flag)
        except Unsayable as fault:
            reading.fault(flag, fault)
    asks = reading.flags.keys() - BENEATH - {"-i"}
    if "-map" in reading.flags and not reading.maps_video:
        reading.has_video = False
    for close in (_times, _rates, _keyframes, _size, _sound, _limits):
        close(reading)
    profile = reading.profile()
    if asks and reading.has_video:
        profile.setdefault("ffmpeg", {})
        reading.notes += complete(profile["ffmpeg"]) if whole else ()
    return Translation(profile, reading.inputs, reading.faults, reading.notes)


def complete(encode: dict[str, Any]) -> list[str]:
    """Fill in what ffmpeg does without an option: H.264, the source's size, the encoder's quality. Returns notes."""
    notes = []
    encode.setdefault("codec", "h264")
    encode.setdefault("scale", "source")
    if "bitrate" not in encode and "quality" not in encode:
        encode["quality"] = {"crf": CRFS.get(encode["codec"], 23)}
        notes.append(f"Without -b:v and -crf: -crf {encode['quality']['crf']}, as in ffmpeg.")
    if _is_beyond_first(str(encode.get("bitrate", "1M"))):
        encode.setdefault("fit", "contain")  # the word that bitrates beyond those of the first generation need
    return notes


def _is_beyond_first(bitrate: str) -> bool:
    try:
        return not 1_000_000 <= values.bits(bitrate) <= 15_000_000
    except Unsayable:  # the API says what is wrong with it
        return False


def _read(reading: Reading, name: str, flag: Flag) -> None:
    reading.flags[name] = flag
    if name in BENEATH or (name, (flag.value or "").removeprefix("+")) in ALWAYS:
        return
    if flag.value == "":
        raise Unsayable("needs a value")
    if name in READERS:
        READERS[name](reading, flag.value or "")
        return
    if name in NOT_HERE:
        raise Unsayable(*NOT_HERE[name])
    close = difflib.get_close_matches(name, [*READERS, *NOT_HERE], 1, 0.75)
    raise Unsayable("no option that a profile can say", close[0] if close else "")


def _times(reading: Reading) -> None:
    """`-ss` is where the part begins; `-to` counts from the source's beginning, `-t` from there.

    As in ffmpeg, a `-to` behind `-i` counts from an `-ss` in front of it.
    """
    start = reading.video.get("start", 0.0)
    to, length = reading.video.pop("to", None), reading.video.pop("t", None)
    if to is not None:
        is_apart = "-ss" in reading.flags and reading.flags["-ss"].is_early and not reading.flags["-to"].is_early
        reading.video["end"] = to + start if is_apart else to
    elif length is not None:
        reading.video["end"] = start + length
    end = reading.video.get("end")
    if end is not None and end <= start:
        reading.fault_at("-t" if to is None else "-to", f"ends at {end:g} s, not after -ss, {start:g} s")


def _rates(reading: Reading) -> None:
    """`-crf` with `-maxrate` is a capped quality; with `-b:v`, the bitrate is its own cap."""
    video, peak = reading.video, reading.video.pop("maxrate", None)
    if "bitrate" in video and "quality" in video:
        reading.fault_at(
            "-b:v", "goes without -crf: a quality has a cap, not a mean", f"-crf … -maxrate {video['bitrate']}"
        )
        del video["bitrate"]
    if peak and "quality" in video:
        video["maxBitrate"] = peak
    elif peak and "bitrate" not in video:
        reading.fault_at("-maxrate", "is the cap of a quality", f"-crf 23 -maxrate {peak}")
    elif peak and values.bits(peak) != values.bits(video["bitrate"]):
        reading.fault_at(
            "-maxrate", "beside -b:v, which is its own cap", f"-b:v {video['bitrate']}, or -crf 23 -maxrate {peak}"
        )
    least = video.pop("minrate", None)
    if least and least != video.get("bitrate"):
        reading.fault_at("-minrate", "no bitrate has a floor", "-b:v alone, whose buffer bounds the peaks")
    if "quality" in video and "maxBitrate" not in video and "buffersize" in video:
        reading.fault_at("-bufsize", "goes with -b:v or -maxrate", "-maxrate beside -crf")


def _keyframes(reading: Reading) -> None:
    """`-g` counts frames and a profile seconds."""
    frames = reading.video.pop("g", None)
    if frames is None or "keyframeSeconds" in reading.video:
        return
    rate = reading.video.get("frameRate")
    if not rate:
        reason = "counts frames, whose number each second nobody knows before the source is read"
        reading.fault_at("-g", reason, f"-r 30 -g {frames:g}, or --keyframe-seconds 2")
        return
    above, _, below = rate.partition("/")
    reading.set_interval("-g", frames * int(below or 1) / int(above))


def _size(reading: Reading) -> None:
    if reading.video.get("fit") == "increase":
        instead = "crop=… of the same size behind it, or force_original_aspect_ratio=decrease"
        reading.fault_at("-vf", "a picture larger than its size is cropped, or fits inside", instead)


def _sound(reading: Reading) -> None:
    """`-an` wins over all else, as in ffmpeg, and copied sound is left as it is."""
    codec = reading.audio.get("codec")
    if "-an" in reading.flags or codec == "none":
        reading.audio = {"codec": "none"}
        if not reading.has_video:
            reading.fault_at("-vn", "leaves nothing beside -an")
    elif codec == "copy":
        for name, field in (("-b:a", "bitrate"), ("-ac", "channels"), ("-af", "loudness")):
            if reading.audio.pop(field, None):
                reading.fault_at(name, "changes sound that -c:a copy leaves as it is", "-c:a aac")
        if not reading.has_video:
            reading.fault_at("-c:a", "needs pictures beside it: a file of sound alone is encoded", "-c:a aac")
    if codec == "opus" and not reading.has_video and reading.audio.get("tracks", "first") != "first":
        reading.fault_at("-map", "a file of Opus alone holds one track", "-map 0:a:0, or -c:a aac")


def _limits(reading: Reading) -> None:
    video, codec = reading.video, reading.video.get("codec", "h264")
    limit = 63 if codec == "av1" else 51
    if video.get("quality", {}).get("crf", 0) > limit:
        reading.fault_at("-crf", f"is more than {limit}, the highest of {codec}", f"-crf {limit}")
    if codec == "h264" and video.get("bitDepth") == 10:
        name = "-pix_fmt" if "-pix_fmt" in reading.flags else "-vf" if "-vf" in reading.flags else "-profile:v"
        reading.fault_at(name, "few players decode H.264 with 10 bits", "-c:v libx265, or -pix_fmt yuv420p")
