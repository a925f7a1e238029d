"""Options for the fields of a profile, and the profile that a command line asks for.

A profile comes from a preset, from a file, or from options alone: those of ffmpeg and those of this table. Options
beside a preset or a file change its fields.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from elasticrecode_client.command.faults import Refusal, name_flags
from elasticrecode_client.command.ffmpeg_reading import Flag
from elasticrecode_client.command.ffmpeg_values import Unsayable, number
from elasticrecode_client.command.ffmpeg_words import canonical, complete, translate
from elasticrecode_client.command.frame import Option
from elasticrecode_client.command.session import Session

Fields = dict[str, Any]
PICTURE, SOUND, BESIDE, PACKAGE = "Picture", "Sound", "Beside the film", "Package"


class Field(NamedTuple):
    """An option for a field of a profile. `path` is where the field is; `read` makes its value of the text."""

    flag: str
    path: tuple[str, ...]
    help: str
    metavar: str | None = None
    section: str = PICTURE
    read: Callable[[Any], Any] = str
    is_flag: bool = False


def _tracks(text: str) -> str | list[str]:
    return text if text in ("all", "first") else [part.strip() for part in text.split(",")]


def _number(text: str) -> float | int:
    try:
        value = number(text)
    except Unsayable as unsayable:
        raise Refusal(f"{unsayable}.") from None
    return int(value) if value.is_integer() else value


def _yes(_: object) -> bool:
    return True


def _no(_: object) -> bool:
    return False


_ENCODE = (
    Field("--codec", ("ffmpeg", "codec"), "h264, h265 or av1: -c:v.", "WORD"),
    Field("--scale", ("ffmpeg", "scale"), "2160p … 240p, source, or WIDTH:HEIGHT: -s, -vf scale.", "SCALE"),
    Field("--fit", ("ffmpeg", "fit"), "How a size is filled: contain, pad, crop or exact.", "WORD"),
    Field("--bitrate", ("ffmpeg", "bitrate"), "Bits per second, as 3M: -b:v.", "RATE"),
    Field("--crf", ("ffmpeg", "quality", "crf"), "Constant rate factor: -crf.", "N", read=_number),
    Field("--vmaf", ("ffmpeg", "quality", "vmaf"), "Look for the setting with this mean VMAF.", "N", read=_number),
    Field("--max-bitrate", ("ffmpeg", "maxBitrate"), "The cap of --crf and --vmaf: -maxrate.", "RATE"),
    Field("--speed", ("ffmpeg", "speed"), "fast, medium or slow: -preset.", "WORD"),
    Field("--frame-rate", ("ffmpeg", "frameRate"), "Frames per second, as 30 or 30000/1001: -r.", "RATE"),
    Field("--keyframe-seconds", ("ffmpeg", "keyframeSeconds"), "From keyframe to keyframe.", "N", read=_number),
    Field("--start", ("ffmpeg", "start"), "Begin at this second of the source: -ss.", "SECONDS", read=_number),
    Field("--end", ("ffmpeg", "end"), "End at this second of the source: -to.", "SECONDS", read=_number),
    Field("--bit-depth", ("ffmpeg", "bitDepth"), "8 or 10: -pix_fmt.", "BITS", read=_number),
    Field("--dynamic-range", ("ffmpeg", "dynamicRange"), "auto, sdr or keep.", "WORD"),
    Field("--deinterlace", ("ffmpeg", "deinterlace"), "auto, off or double: -vf bwdif.", "WORD"),
    Field("--platform", ("ffmpeg", "platform"), "cpu or gpu.", "WORD"),
)
_SOUND = (
    Field("--audio-codec", ("audio", "codec"), "aac, opus, copy or none: -c:a, -an.", "WORD", SOUND),
    Field("--audio-bitrate", ("audio", "bitrate"), "Bits per second, as 128K: -b:a.", "RATE", SOUND),
    Field("--channels", ("audio", "channels"), "source, mono, stereo or 5.1: -ac.", "WORD", SOUND),
    Field("--loudness", ("audio", "loudness"), "Integrated loudness: -af loudnorm.", "LUFS", SOUND, _number),
    Field("--audio-tracks", ("audio", "tracks"), "first, all, or languages, as en,fr: -map.", "TRACKS", SOUND, _tracks),
)
_BESIDE = (
    Field("--subtitles", ("subtitles", "tracks"), "all, or languages, as en,fr: -c:s.", "TRACKS", BESIDE, _tracks),
    Field("--burn", ("subtitles", "burn"), "Draw the text of this language on the picture.", "LANGUAGE", BESIDE),
    Field("--poster", ("images", "poster"), "A poster beside the film.", None, BESIDE, _yes, is_flag=True),
    Field("--sprite", ("images", "sprite"), "Small pictures for scrubbing.", None, BESIDE, lambda _: {}, is_flag=True),
    Field("--score", ("vmaf", "scale"), "Score the output against its source at this scale.", "SCALE", BESIDE),
    Field("--min-vmaf", ("vmaf", "min"), "The bar of --score: exit status 3 below.", "N", BESIDE, _number),
    Field("--no-split", ("split",), "Do not divide a long film.", None, BESIDE, lambda _: "never", is_flag=True),
    Field("--no-reuse", ("reuse",), "Encode also what was encoded before.", None, BESIDE, _no, is_flag=True),
)
_PACKAGE = (
    Field(
        "--format",
        ("package", "formats"),
        "hls, dash, or both, as hls,dash.",
        "WORDS",
        PACKAGE,
        lambda text: [part.strip() for part in text.split(",")],
    ),
    Field("--ladder", ("package", "ladder"), "h264, h265, av1, or auto, found for the title.", "WORD", PACKAGE),
    Field("--segment-seconds", ("package", "segmentSeconds"), "Length of a segment.", "N", PACKAGE, _number),
    Field("--speed", ("package", "speed"), "fast, medium or slow.", "WORD", PACKAGE),
    Field("--dynamic-range", ("package", "dynamicRange"), "auto, sdr or keep.", "WORD", PACKAGE),
    Field("--early", ("package", "early"), "Plays while it is made.", None, PACKAGE, _yes, is_flag=True),
    Field("--encrypt", ("package", "encryption", "scheme"), "cbcs or aes-128.", "SCHEME", PACKAGE),
    Field("--key-uri", ("package", "encryption", "keyUri"), "Where players get the key.", "URL", PACKAGE),
    Field("--key-secret", ("package", "encryption", "secretId"), "The secret with the key.", "NAME", PACKAGE),
)
OF_FILES = (*_ENCODE, *_SOUND, *_BESIDE)
OF_PACKAGES = (*_PACKAGE, *_SOUND, *_BESIDE)
ONLY_PACKAGES = tuple(field for field in _PACKAGE if field.flag not in ("--speed", "--dynamic-range"))
"""Those that no field of a file has."""
_WORDS_OF = {
    "ffmpeg/codec": ("-c:v",),
    "ffmpeg/bitrate": ("-b:v",),
    "ffmpeg/quality/crf": ("-crf", "-cq"),
    "ffmpeg/maxBitrate": ("-maxrate",),
    "ffmpeg/buffersize": ("-bufsize",),
    "ffmpeg/speed": ("-preset",),
    "ffmpeg/profile": ("-tune",),
    "ffmpeg/frameRate": ("-r",),
    "ffmpeg/keyframeSeconds": ("-g",),
    "ffmpeg/start": ("-ss",),
    "ffmpeg/end": ("-to", "-t"),
    "ffmpeg/scale": ("-vf", "-s"),
    "ffmpeg/bitDepth": ("-pix_fmt",),
    "audio/codec": ("-c:a", "-an"),
    "audio/bitrate": ("-b:a",),
    "audio/channels": ("-ac",),
    "audio/loudness": ("-af",),
    "audio/tracks": ("-map",),
    "subtitles": ("-c:s",),
}
"""Field of a profile → ffmpeg's options that fill it, for faults."""


def options(fields: Iterable[Field], preset: str) -> list[click.Parameter]:
    """The options of a command: a preset, a file, and fields. `preset` is the help of the first."""
    listed: list[click.Parameter] = [
        Option(["--preset"], metavar="NAME", help=preset),
        Option(["--profile"], metavar="FILE.json", help="A profile in a file; - reads standard input."),
    ]
    for field in fields:
        shown = {"is_flag": True} if field.is_flag else {"metavar": field.metavar}
        listed.append(Option([field.flag, _name(field)], help=field.help, section=field.section, **shown))
    return listed


def _name(field: Field) -> str:
    return "field_" + "_".join(field.path)


class Wanted(NamedTuple):
    """The profile that a command line asks for, the inputs of `-i`, and notes."""

    profile: Fields
    inputs: list[str]
    notes: list[str]


def wanted(
    session: Session,
    fields: Sequence[Field],
    flags: Sequence[Flag],
    given: Mapping[str, Any],
    default: str = "",
    *,
    is_stored: bool = False,
) -> Wanted:
    """What the options ask for; `default` is the preset without any. Raises Refusal with all that is wrong.

    A profile that `is_stored` does not name a preset, but has its fields.
    """
    preset, file = given.get("preset") or default, given.get("profile")
    if given.get("preset") and file:
        raise Refusal("--preset and --profile are two profiles: give one of them.")
    translation = translate(flags, whole=False)
    if translation.faults:
        raise Refusal("A profile cannot say this:", *(f"  {fault}" for fault in translation.faults))
    _name_flags(fields, flags, given, file)
    typed = merged(translation.profile, _changes(fields, given))
    notes = translation.notes
    if file:
        profile = _changed(read_profile(file), typed)
    elif preset:
        is_name = not (is_stored or typed.keys() - {"reuse"})
        profile = {"preset": preset, **typed} if is_name else _changed(preset_profile(session, preset), typed)
    elif typed:
        notes += complete(typed["ffmpeg"]) if "ffmpeg" in typed else []
        profile = typed
    else:
        raise Refusal("Which profile? Give --preset web-1080p, ffmpeg's words such as -crf 23, or --profile FILE.json.")
    return Wanted(profile, translation.inputs, notes)


def _changes(fields: Sequence[Field], given: Mapping[str, Any]) -> Fields:
    changes: Fields = {}
    for field in fields:
        value = given.get(_name(field))
        if value is None or value is False:
            continue
        place = changes
        for part in field.path[:-1]:
            place = place.setdefault(part, {})
        place[field.path[-1]] = field.read(value)
    return changes


def preset_profile(session: Session, name: str) -> Fields:
    """The profile of a preset. Raises Refusal for an unknown one."""
    for record in session.client.presets():
        if record["name"] == name:
            profile: Fields = json.loads(json.dumps(record["profile"]))
            return profile
    raise Refusal(f"--preset: there is no preset {name}; `elasticrecode presets list` shows them.")


def _changed(profile: Fields, typed: Fields) -> Fields:
    """A profile with the fields that were typed. One rate takes the place of another."""
    encode = profile.get("ffmpeg")
    if isinstance(encode, dict) and typed.get("ffmpeg", {}).keys() & {"bitrate", "quality"}:
        for field in ("bitrate", "quality", "maxBitrate", "buffersize"):
            encode.pop(field, None)
    return merged(profile, {part: value for part, value in typed.items() if value != {}})


def merged(profile: Fields, changes: Mapping[str, Any]) -> Fields:
    """A profile with other values for some of its fields."""
    for name, value in changes.items():
        if isinstance(value, Mapping) and isinstance(profile.get(name), dict):
            profile[name] = merged(profile[name], value)
        else:
            profile[name] = value
    return profile


def read_profile(path: str) -> Fields:
    """The profile in a file, or in the `profile` of a request in it. Raises Refusal."""
    try:
        content = json.loads(sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise Refusal(f"--profile {path}: is not JSON: {error}") from None
    if isinstance(content, dict) and isinstance(content.get("profile"), dict):
        content = content["profile"]
    if not isinstance(content, dict):
        raise Refusal(f'--profile {path}: must be an object, such as {{"preset": "web-1080p"}}')
    return content


def _name_flags(fields: Sequence[Field], flags: Sequence[Flag], given: Mapping[str, Any], file: str | None) -> None:
    """Let faults name what was typed for each field."""
    names = {"/profile": f"--profile {file}"} if file else {}
    names |= {"/profile/" + "/".join(field.path): field.flag for field in fields if not file or given.get(_name(field))}
    for flag in flags:
        for path, words in _WORDS_OF.items():
            if canonical(flag.name) in words:
                names[f"/profile/{path}"] = flag.text
    name_flags(names)
