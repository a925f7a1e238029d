"""Faults of WebVTT files, by the library webvtt-py and by the grammar of their times."""

import re
from fractions import Fraction
from io import StringIO

import webvtt

_TIME = r"(?:(\d{2,}):)?([0-5]\d):([0-5]\d)\.(\d{3})"
_TIMING = re.compile(rf"{_TIME}[ \t]+-->[ \t]+{_TIME}(?:[ \t]+(.*))?")
_SETTING = re.compile(
    r"(vertical:(rl|lr)|line:-?[\d.]+%?(,(start|center|end))?|position:[\d.]+%(,[a-z-]+)?|size:[\d.]+%|align:(start|center|end|left|right)|region:\S+)"
)


def faults(text: str, duration: Fraction) -> list[str]:
    """What is wrong with a file whose content lasts `duration` seconds; empty where nothing is."""
    found = []
    lines = text.lstrip("\ufeff").splitlines()
    if not lines or not re.fullmatch(r"WEBVTT([ \t].*)?", lines[0]):
        return ["no WEBVTT signature"]
    before = Fraction(-1)
    for number, line in enumerate(lines, 1):
        if "-->" not in line:
            continue
        match = _TIMING.fullmatch(line.strip())
        if match is None:
            found.append(f"line {number}: {line} is no timing")
            continue
        start, end = _seconds(match.groups()[:4]), _seconds(match.groups()[4:8])
        if end <= start:
            found.append(f"line {number}: ends before it starts")
        if start < before:
            found.append(f"line {number}: starts before the previous cue")
        if start > duration or end > duration + 1:
            found.append(f"line {number}: after the end of the content")
        if bad := [one for one in (match.group(9) or "").split() if not _SETTING.fullmatch(one)]:
            found.append(f"line {number}: setting {bad[0]}")
        before = start
    try:
        cues = webvtt.from_buffer(StringIO(text)).captions
    except webvtt.errors.MalformedFileError as fault:
        return [*found, str(fault)]
    if len(cues) != sum("-->" in line for line in lines) and not found:
        found.append(f"{len(cues)} cues can be read")
    return found


def _seconds(parts: tuple[str | None, ...]) -> Fraction:
    """Hours, minutes, seconds and thousandths in seconds."""
    hours, minutes, rest, thousandths = (int(part or 0) for part in parts)
    return 3600 * hours + 60 * minutes + rest + Fraction(thousandths, 1000)
