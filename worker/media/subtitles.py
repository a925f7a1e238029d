"""Subtitles: which tracks the output gets as text, and which one is burnt in.

ffmpeg's filters cannot cut text. Where the profile has `subtitles`, a run of its own reads the source's text tracks
into small files first. They are cut as the film is, and are inputs of the transcode: a track that cannot be read, or is
empty, is found before it can spoil the encode.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from elasticrecode.jobs.events import Notice, Output
from elasticrecode.jobs.uris import subtitles_name
from elasticrecode.media.profiles import Ffmpeg, Profile, Subtitles
from worker.errors import PermanentError
from worker.media import languages
from worker.media.colour import Signal
from worker.media.cues import cut_ass, cut_srt, webvtt_of_ass, webvtt_of_srt, without_drawings
from worker.media.demuxers import input_options
from worker.media.source import Source, SubtitleTrack
from worker.media.steps import Step
from worker.media.video import Video
from worker.sandbox.runner import Runner

TEXT = {
    *("subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text", "microdvd", "subviewer", "subviewer1", "mpl2"),
    *("jacosub", "sami", "realtext", "stl", "pjs", "vplayer"),
}
"""Codecs of text that ffmpeg decodes."""
_PICTURES = {"hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle", "xsub"}
_CLEARED = {"hdmv_pgs_subtitle"}
_DRAWN = "drawn.mkv"
_MOST = 20
"""Tracks of one output."""
_FILE_BYTES = 32 << 20
_SIDE_SECONDS = 60
_LATE_SECONDS = 1.0
"""How long cues may outlast the film without a warning."""
_ENCODERS = {"mp4": "mov_text", "mov": "mov_text", "matroska": ""}
_FONTS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))
_FONT_FILES = ("*.ttf", "*.otf", "*.ttc")
_FONT = "DejaVuSans.ttf"
_LEVEL = {
    "sdr": "",
    "hdr10": ",colorchannelmixer=.58:0:0:0:0:.58:0:0:0:0:.58",
    "hlg": ",colorchannelmixer=.75:0:0:0:0:.75:0:0:0:0:.75",
}
_WHITE = {"sdr": "", "hdr10": "949494", "hlg": "BFBFBF"}
"""Colour of text in HDR: BT.2408's white of 203 nit, not the signal's peak."""


class TextTrack(NamedTuple):
    """A text track in a file of the job's folder, on the output's clock. `format` is `srt` or `ass`.

    `origin` is the URI of its side file, empty for a track of the source. `drawings` counts the cues of ASS that draw;
    `has_words` says that some do not only draw.
    """

    file: str
    format: str
    language: str
    title: str = ""
    is_default: bool = False
    is_forced: bool = False
    is_for_deaf: bool = False
    origin: str = ""
    drawings: int = 0
    has_words: bool = True

    @property
    def plain_file(self) -> str:
        """The file with what formats of text can hold."""
        return f"plain-{self.file}" if self.format == "ass" else self.file

    @property
    def vtt_file(self) -> str:
        """The file that is published beside the output."""
        return str(Path(self.file).with_suffix(".vtt"))


class SideFile(NamedTuple):
    """Subtitles in UTF-8 from an object beside the input. `format` is ffmpeg's demuxer."""

    file: str
    format: str
    language: str
    uri: str
    is_forced: bool = False
    is_for_deaf: bool = False


class SubtitlePlan(NamedTuple):
    """The text tracks of the output, the one that is burnt in, and warnings.

    `drawn_from` is the second of the source at which the output begins, where _DRAWN is burnt in; else None.
    """

    tracks: tuple[TextTrack, ...] = ()
    burn: TextTrack | None = None
    drawn_from: float | None = None
    notices: tuple[Notice, ...] = ()


def untouched(source: Source) -> SubtitlePlan:
    """The plan of a profile without `subtitles`: the output gets none."""
    if not source.subtitles:
        return SubtitlePlan()
    message = f"The output has no subtitles; the source has {_listed(source.subtitles)}. `subtitles` keeps text tracks."
    return SubtitlePlan(notices=(Notice("subtitles-left-out", message),))


def read_subtitles(
    path: Path,
    source: Source,
    profile: Profile,
    encode: Ffmpeg,
    ffmpeg: str,
    runner: Runner,
    sides: Sequence[SideFile] = (),
) -> SubtitlePlan:
    """The subtitles of an output, read from the source `path` and its side files into files beside it.

    Raises as `Runner.run`.
    """
    if not profile.subtitles:
        return untouched(source)
    wanted, notices = profile.subtitles, list[Notice]()
    chosen = [track for track in source.subtitles if track.codec in TEXT and _is_wanted(track.language, wanted)]
    notices += _unusable(source.subtitles, wanted)
    if len(chosen) > _MOST:
        notices.append(Notice("subtitles-left-out", f"The output has {_MOST} of {len(chosen)} text tracks."))
        chosen = chosen[:_MOST]
    tracks = [
        TextTrack(
            f"text-{number}.{'ass' if track.codec in ('ass', 'ssa') else 'srt'}",
            "ass" if track.codec in ("ass", "ssa") else "srt",
            languages.short(track.language),
            track.title,
            track.is_default,
            track.is_forced,
            track.is_for_deaf,
        )
        for number, track in enumerate(chosen)
    ]
    if chosen:
        _extract(path, source.video, list(zip(chosen, tracks, strict=True)), ffmpeg, runner)
    tracks += _read_sides(sides[: _MOST - len(tracks)], len(tracks), path, ffmpeg, runner)
    end = max((source.video.duration or float("inf"), *(track.duration or 0.0 for track in source.audio)))
    cut = (_cut(path.parent, track, encode, end, notices) for track in tracks)
    read = [track for track in cut if track]
    plan = _planned(read, wanted, notices)
    if wanted.burn and not plan.burn:
        return _drawn(plan, path, source, wanted.burn, encode, ffmpeg, runner)
    return plan


def _read_sides(sides: Sequence[SideFile], first: int, path: Path, ffmpeg: str, runner: Runner) -> Iterator[TextTrack]:
    """The tracks of side files, numbered from `first`. What cannot be read leaves its file empty, or not there."""
    for number, side in enumerate(sides, first):
        kind = "ass" if side.format == "ass" else "srt"
        text = TextTrack(
            f"text-{number}.{kind}",
            kind,
            side.language,
            is_forced=side.is_forced,
            is_for_deaf=side.is_for_deaf,
            origin=side.uri,
        )
        whitelists = ("-protocol_whitelist", "file", "-format_whitelist", side.format)
        command = [
            *(ffmpeg, "-hide_banner", "-nostdin", "-y", "-loglevel", "warning", *whitelists),
            *("-f", side.format, "-i", f"file:{side.file}", "-map", "0:s:0", "-map_metadata", "-1"),
            *("-c:s", kind, "-f", kind, f"file:{text.file}"),
        ]
        runner.run(command, path.parent, path.with_name("subtitles.log"), seconds=_SIDE_SECONDS, file_bytes=_FILE_BYTES)
        yield text


def has_fonts() -> bool:
    """Whether this machine has fonts to burn text in with."""
    return any(next(folder.rglob(kind), None) for folder in _FONTS if folder.is_dir() for kind in _FONT_FILES)


def _planned(tracks: Sequence[TextTrack], wanted: Subtitles, notices: list[Notice]) -> SubtitlePlan:
    kept = tuple(track for track in tracks if _is_listed(track.language, wanted))
    notices += [
        Notice("subtitles-language-missing", f"No text track is in the language {tag}.")
        for tag in (wanted.tracks if isinstance(wanted.tracks, list) else ())
        if not any(languages.matches(tag, track.language) for track in tracks)
    ]
    notices += [Notice("subtitles-drawings-left-out", _undrawn(track)) for track in kept if track.drawings]
    burn = None
    if wanted.burn:
        tag = wanted.burn
        in_language = [track for track in tracks if languages.matches(tag, track.language)]
        burn = min(in_language, key=lambda track: (track.is_forced, track.is_for_deaf), default=None)
        if burn and not has_fonts():
            message = "This worker has no fonts to burn subtitles in: install fonts-dejavu-core and fontconfig-config."
            raise PermanentError("worker-cannot", message)
    return SubtitlePlan(kept, burn, notices=tuple(notices))


def _undrawn(track: TextTrack) -> str:
    """What becomes of the drawings of an ASS track."""
    where = "mp4, mov and WebVTT leave them out; mkv keeps them, and `burn` draws them"
    message = f"{track.drawings} cues of a text track ({track.language}) have drawings: {where}."
    return message if track.has_words else f"{message} The track has nothing else, so it has no WebVTT file."


def _drawn(
    plan: SubtitlePlan, path: Path, source: Source, tag: str, encode: Ffmpeg, ffmpeg: str, runner: Runner
) -> SubtitlePlan:
    """The plan with the subtitles of a language that are pictures, as a video in _DRAWN. Raises as `Runner.run`."""
    pictures = [
        track for track in source.subtitles if track.codec in _PICTURES and languages.matches(tag, track.language)
    ]
    track = min(pictures, key=lambda track: (track.is_forced, track.is_for_deaf), default=None)
    if track:
        # Where the end of a picture is not told by another packet, the film's packets tell the time.
        clock = () if track.codec in _CLEARED else ("-map", f"0:{source.video.stream}", "-c", "copy", "-f", "null", "-")
        command = [
            *(ffmpeg, "-hide_banner", "-nostdin", "-y", "-loglevel", "warning", *input_options(runner.limits)),
            *("-f", source.video.demuxer, "-i", f"file:{path.name}"),
            *("-filter_complex", f"[0:{track.stream}]null[drawn]"),
            *("-map", "[drawn]", "-fps_mode", "passthrough", "-c:v", "png", "-f", "matroska", f"file:{_DRAWN}", *clock),
        ]
        log = path.with_name("subtitles.log")
        if not runner.run(command, path.parent, log, seconds=runner.limits.job_seconds):
            return plan._replace(drawn_from=encode.start or 0.0)
        message = f"The {track.codec} subtitles in the language {tag} cannot be decoded; nothing is burnt in."
        return plan._replace(notices=(*plan.notices, Notice("subtitles-undecodable", message)))
    message = f"No subtitles are in the language {tag}; nothing is burnt in."
    return plan._replace(notices=(*plan.notices, Notice("subtitles-language-missing", message)))


def _is_listed(language: str, wanted: Subtitles) -> bool:
    """Whether the output gets tracks of a language."""
    if isinstance(wanted.tracks, list):
        return any(languages.matches(tag, language) for tag in wanted.tracks)
    return wanted.tracks == "all"


def _is_wanted(language: str, wanted: Subtitles) -> bool:
    return _is_listed(language, wanted) or bool(wanted.burn and languages.matches(wanted.burn, language))


def _unusable(tracks: Sequence[SubtitleTrack], wanted: Subtitles) -> Iterator[Notice]:
    """A warning for each kind of wanted track that cannot be text."""
    others = [track for track in tracks if track.codec not in TEXT and _is_listed(track.language, wanted)]
    if pictures := [track for track in others if track.codec in _PICTURES]:
        message = f"The output leaves out {_listed(pictures)}: subtitles that are pictures cannot become text."
        yield Notice("subtitles-are-pictures", message)
    if unknown := [track for track in others if track.codec not in _PICTURES]:
        yield Notice("subtitles-undecodable", f"The output leaves out {_listed(unknown)}: the worker has no decoder.")


def _listed(tracks: Sequence[SubtitleTrack]) -> str:
    counts = Counter(f"{track.codec[:30] or 'unknown'} {languages.short(track.language)}" for track in tracks)
    names = ", ".join(f"{name} ({count})" if count > 1 else name for name, count in counts.most_common(8))
    return f"{len(tracks)} subtitle track{'' if len(tracks) == 1 else 's'} ({names})"


def _extract(
    path: Path, video: Video, tracks: Sequence[tuple[SubtitleTrack, TextTrack]], ffmpeg: str, runner: Runner
) -> None:
    """Write text tracks of a file into files beside it. What cannot be read leaves its file empty, or not there."""
    outputs = [
        argument
        for track, text in tracks
        for argument in (
            *("-map", f"0:{track.stream}", "-map_metadata", "-1", "-c:s", text.format),
            *("-f", text.format, f"file:{text.file}"),
        )
    ]
    command = [
        *(ffmpeg, "-hide_banner", "-nostdin", "-y", "-loglevel", "warning"),
        *input_options(runner.limits, is_late=video.is_late),
        *("-f", video.demuxer, "-i", f"file:{path.name}", *outputs),
    ]
    runner.run(
        command, path.parent, path.with_name("subtitles.log"), seconds=runner.limits.job_seconds, file_bytes=_FILE_BYTES
    )


def _cut(folder: Path, track: TextTrack, encode: Ffmpeg, film_end: float, notices: list[Notice]) -> TextTrack | None:
    """Cut the file of a track as the film is cut, and write its other files. Appends a warning if no cue is left.

    `film_end` is the second of the source at which the last of its pictures and sound ends, infinite if unknown.
    """
    file = folder / track.file
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    start, end = encode.start or 0.0, encode.end or float("inf")
    cut_text = cut_ass if track.format == "ass" else cut_srt
    cut, count = cut_text(text, start, min(end, film_end))
    file.write_text(cut, encoding="utf-8")
    outlast = cut_text(text, max(start, film_end + _LATE_SECONDS), end)[1] if film_end + _LATE_SECONDS < end else 0
    if late := max(outlast, cut_text(text, start, end)[1] - count):
        message = f"{late} cues of a text track ({track.language}) last beyond the film's end, {film_end:.1f} s."
        notices.append(Notice("subtitles-beyond-film", message))
    if not count:
        message = (
            f"{track.origin or 'A text track'} ({track.language}) has no cue that can be read within the output's time."
        )
        notices.append(Notice("subtitles-empty", message))
        return None
    if track.format == "ass":
        plain, count, drawings = without_drawings(cut)
        (folder / track.plain_file).write_text(plain, encoding="utf-8")
        track = track._replace(drawings=drawings, has_words=count > 0)
    else:
        plain = cut
    vtt = webvtt_of_ass(plain) if track.format == "ass" else webvtt_of_srt(plain)
    (folder / track.vtt_file).write_text(vtt, encoding="utf-8")
    return track


def burn_in(plan: SubtitlePlan, signal: Signal) -> Step:
    """The filters that draw subtitles on pictures of a signal, whatever their size."""
    if plan.drawn_from is not None:
        depth = "p10" if "10" in signal.pixel_format else ""
        matrix = f"out_color_matrix={signal.matrix.removesuffix('nc')}:out_range={signal.range}"
        movie = f"movie=filename={_DRAWN}:format_name=matroska,setpts=PTS-{plan.drawn_from:.6f}/TB"
        return Step(
            (
                f"split[drawn_on][drawn_size];{movie},format=rgba{_LEVEL[signal.dynamic_range]}[drawn_raw]"
                f";[drawn_raw][drawn_size]scale=w=rw:h=rh:{matrix},format=yuva420p{depth and '10le'}[drawn]"
                f";[drawn_on][drawn]overlay=eof_action=pass:format=yuv420{depth}",
            )
        )
    if not plan.burn:
        return Step()
    styles = []
    if plan.burn.format == "srt" and any(next(folder.rglob(_FONT), None) for folder in _FONTS if folder.is_dir()):
        styles.append("FontName=DejaVu Sans")
    if white := _WHITE[signal.dynamic_range]:
        styles.append(f"PrimaryColour=&H{white}")
    style = f":force_style='{','.join(styles)}'" if styles else ""
    return Step((f"subtitles=filename={plan.burn.file}{style}",))


def _inside(plan: SubtitlePlan, muxer: str) -> list[tuple[TextTrack, str]]:
    """The text tracks that the output itself holds, each with the file that it is made of."""
    if muxer not in _ENCODERS:
        return []
    if not _ENCODERS[muxer]:
        return [(track, track.file) for track in plan.tracks]
    return [(track, track.plain_file) for track in plan.tracks if track.has_words]


def inputs(plan: SubtitlePlan, muxer: str) -> list[str]:
    """Options of ffmpeg that open the text tracks."""
    return [
        argument
        for track, file in _inside(plan, muxer)
        for argument in (
            *("-protocol_whitelist", "file", "-format_whitelist", track.format),
            *("-f", track.format, "-i", f"file:{file}"),
        )
    ]


def output_options(plan: SubtitlePlan, muxer: str, first: int) -> list[str]:
    """Options of ffmpeg for the text tracks in the output. `first` is the number of the first one's input."""
    options = []
    for number, (track, _) in enumerate(_inside(plan, muxer)):
        encoder = _ENCODERS[muxer] or {"srt": "subrip", "ass": "ass"}[track.format]
        marks = [
            name
            for name, is_set in (
                ("default", track.is_default),
                ("forced", track.is_forced),
                ("hearing_impaired", track.is_for_deaf),
            )
            if is_set
        ]
        options += ["-map", f"{first + number}:0", f"-c:s:{number}", encoder]
        options += [f"-metadata:s:s:{number}", f"language={languages.three_letters(track.language)}"]
        options += [f"-disposition:s:{number}", "+".join(marks) or "0"]
        if title := "".join(filter(str.isprintable, track.title)):
            options += [f"-metadata:s:s:{number}", f"title={title}"]
    return options


def published(plan: SubtitlePlan, source: str, prefix: str, folder: Path) -> list[tuple[Path, Output]]:
    """The WebVTT files of a job with the input `source`, as outputs below `prefix`."""
    files, counts = [], Counter[str]()
    for track in plan.tracks:
        if not track.has_words:
            continue
        counts[track.language] += 1
        path, uri = folder / track.vtt_file, prefix + subtitles_name(source, track.language, counts[track.language])
        files.append((path, Output(uri=uri, bytes=path.stat().st_size, role="subtitles")))
    return files
