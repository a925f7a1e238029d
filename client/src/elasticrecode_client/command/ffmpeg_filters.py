"""Chains of ffmpeg's filters, as `-vf` and `-af` have them, in the words of a profile. Pure."""

import re
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, NamedTuple

from elasticrecode_client.command import ffmpeg_values as values
from elasticrecode_client.command.ffmpeg_values import Unsayable

Fields = MutableMapping[str, Any]
_BENEATH = ("setsar", "setdar", "null", "copy", "setpts", "anull", "aresample", "setfield")
"""Filters whose effect the worker has anyway."""
_TONE = ("zscale", "tonemap", "libplacebo", "tonemap_opencl", "tonemap_cuda")
_MIDDLE = (
    re.compile(r"\(?(ow|out_w|W|\d+)-(iw|in_w|w)\)?/2"),
    re.compile(r"\(?(oh|out_h|H|\d+)-(ih|in_h|h)\)?/2"),
)
_BURNT = ("text is burnt in from a track of the source", "--burn LANGUAGE")
_TURNED = ("pictures are turned as the file's own rotation says", "")
_SCORED = ("outputs are scored behind the encode", "--score 1080p")
_CUT = ("parts are cut by time", "-ss and -to")
_LOUD = ("sound has a loudness", "-af loudnorm=I=-16, or --loudness -16")
_NOT_HERE: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("subtitles", "ass"), _BURNT),
    **dict.fromkeys(("transpose", "rotate", "hflip", "vflip"), _TURNED),
    **dict.fromkeys(("libvmaf", "psnr", "ssim", "xpsnr"), _SCORED),
    **dict.fromkeys(("trim", "atrim", "select", "aselect"), _CUT),
    **dict.fromkeys(("volume", "dynaudnorm", "acompressor", "alimiter"), _LOUD),
    "pan": ("outputs have mono, stereo or 5.1", "-ac 1, -ac 2 or -ac 6"),
    "thumbnail": ("pictures come beside the output", "--poster"),
    "tile": ("pictures come beside the output", "--sprite"),
    "minterpolate": ("frames are repeated or left out, not drawn", "fps=60"),
}


class Filter(NamedTuple):
    """One filter of a chain: its text, its name, its values by position, and those by name."""

    text: str
    name: str
    positional: list[str]
    named: Mapping[str, str]

    def value(self, place: int, *names: str) -> str:
        """The value by any of its names, else by its position; empty where there is none."""
        given = next((self.named[name] for name in names if name in self.named), "")
        return given or (self.positional[place] if place < len(self.positional) else "")


def parsed(chain: str) -> list[Filter]:
    """The filters of a chain such as `scale=-2:720,fps=30`. Raises Unsayable for a graph of several chains."""
    if ";" in chain or chain.lstrip().startswith("["):
        raise Unsayable("a graph with several chains", "one chain of filters, such as scale=-2:720,fps=30")
    texts = re.findall(r"(?:\\.|'[^']*'|[^,'])+", chain)
    return [_filter(text.strip()) for text in texts]


def _filter(text: str) -> Filter:
    name, _, rest = text.partition("=")
    parts = [part.replace("'", "") for part in re.findall(r"(?:\\.|'[^']*'|[^:'])+", rest)]
    named = dict(part.split("=", 1) for part in parts if re.match(r"[a-zA-Z_]+=", part))
    return Filter(text, name.partition("@")[0], [part for part in parts if not re.match(r"[a-zA-Z_]+=", part)], named)


def apply_video(chain: str, video: Fields) -> list[tuple[str, Unsayable]]:
    """Write a `-vf` into `video`, the fields of a profile's `ffmpeg`. Returns each filter that it cannot, and why."""
    return _apply(chain, video, _VIDEO)


def apply_audio(chain: str, audio: Fields) -> list[tuple[str, Unsayable]]:
    """Write an `-af` into `audio`, the fields of a profile's `audio`. Returns each filter that it cannot, and why."""
    return _apply(chain, audio, _AUDIO)


def _apply(
    chain: str, fields: Fields, known: Mapping[str, Callable[[Filter, Fields], None]]
) -> list[tuple[str, Unsayable]]:
    try:
        filters = parsed(chain)
    except Unsayable as fault:
        return [(chain, fault)]
    faults = []
    for each in filters:
        try:
            if each.name in known:
                known[each.name](each, fields)
            elif each.name not in _BENEATH:
                raise Unsayable(*_NOT_HERE.get(each.name, ("a profile has no such filter", "leave it out")))
        except Unsayable as fault:
            faults.append((each.text, fault))
    return faults


def _scale(each: Filter, video: Fields) -> None:
    width, height = each.value(0, "w", "width"), each.value(1, "h", "height")
    if not height and (given := each.value(0, "size", "s")):
        width, height = map(str, values.size(given))
    if {width, height} <= {"iw", "ih", "in_w", "in_h", "0"}:
        video["scale"] = "source"
        return
    shape = each.named.get("force_original_aspect_ratio", "disable")
    if width in ("-1", "-2") and height.isdecimal():
        size, fit = values.box(height=int(height)), "contain"
    elif height in ("-1", "-2") and width.isdecimal():
        size, fit = values.box(width=int(width)), "contain"
    elif width.isdecimal() and height.isdecimal():
        size = values.even(int(width), int(height))
        fit = {"decrease": "contain", "increase": "increase"}.get(shape, "exact")
    else:
        raise Unsayable(f"{width}:{height} is an expression", "scale=-2:720, scale=1280:720, or --scale source")
    set_size(video, size, fit)


def set_size(video: Fields, size: tuple[int, int], fit: str) -> None:
    """Write a size and how it is filled; the word of the size where it has the same box."""
    word = values.WORDS.get(size) if fit == "contain" else None
    video["scale"] = word or "{}:{}".format(*size)
    if word:
        video.pop("fit", None)
    else:
        video["fit"] = fit


def _crop(each: Filter, video: Fields) -> None:
    width, height = each.value(0, "w", "out_w"), each.value(1, "h", "out_h")
    if video.get("fit") != "increase" or video["scale"] != f"{width}:{height}":
        instead = "scale=1080:1920:force_original_aspect_ratio=increase,crop=1080:1920, or --fit crop"
        raise Unsayable("pictures are cropped only to fill a size", instead)
    video["fit"] = "crop"


def _pad(each: Filter, video: Fields) -> None:
    width, height = each.value(0, "w", "width"), each.value(1, "h", "height")
    scale = str(video.get("scale"))
    by_word = {word: size for size, word in values.WORDS.items()}
    inside = values.size(scale) if ":" in scale else by_word.get(scale)
    if inside is None or f"{width}:{height}" != "{}:{}".format(*inside) or video.get("fit", "contain") != "contain":
        instead = "scale=1280:720:force_original_aspect_ratio=decrease,pad=1280:720:-1:-1, or --fit pad"
        raise Unsayable("bars are added only to fill a size", instead)
    for place, name, middle in ((2, "x", _MIDDLE[0]), (3, "y", _MIDDLE[1])):
        at = each.value(place, name)
        if at != "-1" and not middle.fullmatch(at.replace(" ", "")):
            raise Unsayable("bars are the same on both sides", f"pad={width}:{height}:-1:-1")
    set_size(video, inside, "pad")


def _fps(each: Filter, video: Fields) -> None:
    video["frameRate"] = values.frame_rate(each.value(0, "fps"))


def _deinterlace(each: Filter, video: Fields) -> None:
    mode = each.value(0, "mode") or ("send_field" if each.name in ("bwdif", "w3fdif") else "send_frame")
    video["deinterlace"] = "double" if mode in ("1", "3", "send_field", "send_field_nospatial") else "auto"


def _format(each: Filter, video: Fields) -> None:
    set_pixels(video, each.value(0, "pix_fmts"))


def set_pixels(video: Fields, text: str) -> None:
    """Write the bit depth of a pixel format such as `yuv420p10le`. Raises Unsayable for other than 4:2:0."""
    depths = {"yuv420p": 8, "nv12": 8, "yuvj420p": 8, "yuv420p10le": 10, "yuv420p10": 10, "p010le": 10, "p010": 10}
    if text not in depths:
        deep = any(digits in text for digits in ("10", "12", "14", "16"))
        reason = "outputs have 4:2:0 with 8 or 10 bits, which players decode"
        raise Unsayable(reason, "yuv420p10le" if deep else "yuv420p")
    video["bitDepth"] = depths[text]


def _sdr(_: Filter, video: Fields) -> None:
    video["dynamicRange"] = "sdr"


def _loudnorm(each: Filter, audio: Fields) -> None:
    wanted = values.number(each.value(0, "I", "i") or "-24")
    if not -40 <= wanted <= -5:
        raise Unsayable(f"{wanted:g} LUFS are out of range", "I=-40 to I=-5")
    audio["loudness"] = wanted


_VIDEO: Mapping[str, Callable[[Filter, Fields], None]] = {
    "scale": _scale,
    "scale_cuda": _scale,
    "scale_npp": _scale,
    "crop": _crop,
    "pad": _pad,
    "fps": _fps,
    "format": _format,
    **dict.fromkeys(("yadif", "bwdif", "w3fdif", "yadif_cuda", "bwdif_cuda", "estdif"), _deinterlace),
    **dict.fromkeys(_TONE, _sdr),
}
_AUDIO: Mapping[str, Callable[[Filter, Fields], None]] = {"loudnorm": _loudnorm}
