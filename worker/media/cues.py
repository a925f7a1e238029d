"""Cuts subtitle texts of ffmpeg to a part of a film, and writes them as WebVTT. Pure."""

import re
from collections.abc import Iterator

_SRT_CUE = re.compile(
    r"(\d+:\d\d:\d\d,\d{3}) --> (\d+:\d\d:\d\d,\d{3})[^\n]*\n(.*?)(?=\n\n\d+\n\d+:\d\d:\d\d,\d{3} --> |\s*\Z)",
    re.DOTALL,
)
_ASS_CUE = re.compile(r"(Dialogue: [^,]*,)(\d+:\d\d:\d\d\.\d\d),(\d+:\d\d:\d\d\.\d\d),(.*)")
_FIELDS_BEFORE_TEXT = 6
"""Those of an ASS cue between its end and its text. The first is the style's name."""
_CODES = re.compile(r"(?<!\\)\{([^}]*)\}")
_CODE = re.compile(r"\\(?:([pbiu])(\d*)(?![A-Za-z0-9(])|(r)[^\\]*)")
_STYLE_TAGS = {"bold": "b", "italic": "i", "underline": "u"}
_LEAST_BOLD = 600
_NO_WRAP = re.compile(r"^WrapStyle:\s*2\s*$", re.MULTILINE)
_SRT_TAG = re.compile(r"</?([biu])>", re.IGNORECASE)
_SRT_OTHER = re.compile(r"</?(?:font|s)(?:\s[^<>]*)?>|\{\\[^{}]*\}", re.IGNORECASE)


def cut_srt(text: str, start: float, end: float) -> tuple[str, int]:
    """A SubRip text with the cues from `start` to `end` in seconds, on a clock that begins at `start`; their number.

    The hard spaces of ASS, which converters leave in SubRip, become spaces.
    """
    cues = list[str]()
    for cue in _SRT_CUE.finditer(text.replace("\r\n", "\n")):
        span = _within(cue[1], cue[2], start, end)
        if span and cue[3].strip():
            first, last = (_clock(seconds, ",", 3) for seconds in span)
            words = cue[3].strip().replace("\\h", " ")
            cues.append(f"{len(cues) + 1}\n{first} --> {last}\n{words}\n")
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


def without_drawings(text: str) -> tuple[str, int, int]:
    """An ASS script as formats of text can hold it, the number of its cues, and of the cues that had drawings.

    Drawings and comments are left out, and cues without any other text; hard spaces and soft line breaks are replaced.
    """
    lines, count, drawn = [], 0, 0
    soft = "\\N" if _NO_WRAP.search(text) else " "
    for line in text.splitlines():
        if _ASS_CUE.fullmatch(line):
            head, words = _halves(line)
            kept, had_drawing = _undrawn(words.replace("\\h", " ").replace("\\n", soft))
            drawn += had_drawing
            if not _CODES.sub("", kept).replace("\\N", "").strip():
                continue
            count, line = count + 1, head + kept
        lines.append(line)
    return "\n".join((*lines, "")), count, drawn


def webvtt_of_srt(text: str) -> str:
    """A SubRip text as WebVTT, with bold, italic and underlined words."""
    return _webvtt((cue[1], cue[2], _tagged_srt(cue[3])) for cue in _SRT_CUE.finditer(text))


def webvtt_of_ass(text: str) -> str:
    """As `webvtt_of_srt`, of an ASS script that `without_drawings` gives."""
    styles = _styles(text)
    cues = (cue for line in text.splitlines() if (cue := _ASS_CUE.fullmatch(line)))
    split = ((cue[2], cue[3], cue[4].partition(",")[0].strip(), _halves(cue[0])[1]) for cue in cues)
    return _webvtt((first, last, _tagged_ass(words, styles.get(style, ""))) for first, last, style, words in split)


def _webvtt(cues: Iterator[tuple[str, str, str]]) -> str:
    """A WebVTT file of cues: first and last time, and text with WebVTT's tags. An empty line would end a cue."""
    lines = []
    for first, last, words in sorted(cues, key=lambda cue: _seconds(cue[0])):
        kept = "\n".join(line for line in words.splitlines() if line.strip())
        times = " --> ".join(_clock(_seconds(time), ".", 3) for time in (first, last))
        lines.append(f"{times}\n{kept}\n")
    return "\n".join(("WEBVTT\n", *lines))


def _halves(line: str) -> tuple[str, str]:
    """An ASS cue before its text, and its text."""
    *fields, words = line.split(",", _FIELDS_BEFORE_TEXT + 3)
    return ",".join((*fields, "")), words


def _undrawn(words: str) -> tuple[str, bool]:
    """The text of an ASS cue without drawings and comments, and whether it had drawings."""
    kept, is_drawing, had_drawing = [], False, False
    for number, part in enumerate(_CODES.split(words)):
        if number % 2:
            for code in _CODE.finditer(part):
                if code[1] == "p":
                    is_drawing = bool(code[2].strip("0"))
            kept.append(f"{{{part}}}" if "\\" in part else "")
        elif is_drawing:
            had_drawing = had_drawing or bool(part.strip())
        else:
            kept.append(part)
    return "".join(kept), had_drawing


def _styles(text: str) -> dict[str, str]:
    """The tags b, i and u of each style of an ASS script, as one word."""
    names, styles = list[str](), dict[str, str]()
    for line in text.splitlines():
        kind, _, values = line.partition(":")
        fields = [value.strip() for value in values.split(",")]
        if kind == "Format" and "Bold" in fields:
            names = [name.lower() for name in fields]
        elif kind == "Style" and names:
            style = dict(zip(names, fields, strict=False))
            tags = (tag for name, tag in _STYLE_TAGS.items() if style.get(name, "0") != "0")
            styles[style.get("name", "")] = "".join(tags)
    return styles


def _tagged_ass(words: str, style: str) -> str:
    """The text of an ASS cue with WebVTT's tags. `style` has those of the cue's style."""
    parts, tags, opened = list[str](), style, ""
    for number, part in enumerate(_CODES.split(words)):
        if number % 2:
            for code in _CODE.finditer(part):
                tags = style if code[3] else _switched(tags, style, code[1], code[2])
        elif part:
            if tags != opened:
                parts += [*(f"</{tag}>" for tag in reversed(opened)), *(f"<{tag}>" for tag in tags)]
                opened = tags
            parts.append(_escaped(part.replace("\\{", "{").replace("\\}", "}").replace("\\N", "\n")))
    return "".join((*parts, *(f"</{tag}>" for tag in reversed(opened))))


def _switched(tags: str, style: str, tag: str, value: str) -> str:
    """The tags after an override code of ASS; one without a value goes back to the style."""
    if tag == "p":
        return tags
    is_on = tag in style if not value else int(value[:9]) == 1 or int(value[:9]) >= _LEAST_BOLD
    return "".join(one for one in "biu" if (is_on if one == tag else one in tags))


def _tagged_srt(words: str) -> str:
    """The text of a SubRip cue with WebVTT's tags."""
    parts, end = list[str](), 0
    text = _SRT_OTHER.sub("", words)
    for tag in _SRT_TAG.finditer(text):
        parts += [_escaped(text[end : tag.start()]), tag[0].lower()]
        end = tag.end()
    return "".join((*parts, _escaped(text[end:])))


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


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
