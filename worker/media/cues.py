"""Cuts subtitle texts of ffmpeg to a part of a film. Pure."""

import re

_SRT_CUE = re.compile(
    r"(\d+:\d\d:\d\d,\d{3}) --> (\d+:\d\d:\d\d,\d{3})[^\n]*\n(.*?)(?=\n\n\d+\n\d+:\d\d:\d\d,\d{3} --> |\s*\Z)",
    re.DOTALL,
)
_ASS_CUE = re.compile(r"(Dialogue: [^,]*,)(\d+:\d\d:\d\d\.\d\d),(\d+:\d\d:\d\d\.\d\d),(.*)")


def cut_srt(text: str, start: float, end: float) -> tuple[str, int]:
    """A SubRip text with the cues from `start` to `end` in seconds, on a clock that begins at `start`; their number."""
    cues = list[str]()
    for cue in _SRT_CUE.finditer(text.replace("\r\n", "\n")):
        span = _within(cue[1], cue[2], start, end)
        if span and cue[3].strip():
            first, last = (_clock(seconds, ",", 3) for seconds in span)
            cues.append(f"{len(cues) + 1}\n{first} --> {last}\n{cue[3].strip()}\n")
    return "\n".join(cues), len(cues)


def cut_ass(text: str, start: float, end: float) -> tuple[str, int]:
    """As `cut_srt`, of an ASS script."""
    lines, count = [], 0
    for line in text.splitlines():
        if cue := _ASS_CUE.fullmatch(line):
            span = _within(cue[2], cue[3], start, end)
            if not span:
                continue
            count += 1
            first, last = (_clock(seconds, ".", 2)[1:] for seconds in span)
            line = f"{cue[1]}{first},{last},{cue[4]}"
        lines.append(line)
    return "\n".join((*lines, "")), count


def _within(first: str, last: str, start: float, end: float) -> tuple[float, float] | None:
    begins, ends = max(_seconds(first), start) - start, min(_seconds(last), end) - start
    return (begins, ends) if begins < ends else None


def _seconds(clock: str) -> float:
    hours, minutes, seconds = clock.replace(",", ".").split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def _clock(seconds: float, point: str, digits: int) -> str:
    units = round(seconds * 10**digits)
    whole, part = divmod(units, 10**digits)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{point}{part:0{digits}d}"
