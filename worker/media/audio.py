"""Audio: which tracks the output gets, their layout, codec and loudness. Pure.

A track's chain of filters: sync → trim → layout → (gain) → format. Outputs have mono, stereo or 5.1, at 44.1 or 48 kHz:
that is what players take. Centre and surround channels enter a downmix at 0.707, in front of a limiter.
"""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import UNSET

from elasticrecode.jobs.events import Notice
from elasticrecode.media.profiles import Audio, Profile, bits
from elasticrecode.media.profiles import rate as rate_text
from worker.media import languages, timing
from worker.media.source import AudioTrack

_CHANNELS = {"mono": 1, "stereo": 2, "5.1": 6}
"""Layout of an output → its number of channels."""
_BITRATES = {"mono": 128_000, "stereo": 128_000, "5.1": 384_000}
_MOST_BITS_PER_CHANNEL = 256_000
_ENCODERS = {"aac": "aac", "opus": "libopus"}
_STANDARD = {
    "mono", "stereo", "downmix", "2.1", "3.0", "3.0(back)", "3.1", "4.0", "4.1", "quad", "quad(side)", "5.0",
    "5.0(side)", "5.1", "5.1(side)", "6.0", "6.0(front)", "hexagonal", "6.1", "6.1(back)", "6.1(front)", "7.0",
    "7.0(front)", "7.1", "7.1(wide)", "7.1(wide-side)", "5.1.2", "5.1.2(back)", "5.1.4", "7.1.2", "7.1.4", "7.2.3",
    "9.1.4", "9.1.6", "octagonal", "cube", "hexadecagonal", "22.2",
}  # fmt: skip
"""Layouts that ffmpeg can bring to another layout."""
_SAME = {"5.1(side)": "5.1", "downmix": "stereo"}
_COPIED = {
    "mp4": {"aac", "ac3", "eac3", "opus", "mp3", "alac"},
    "ipod": {"aac", "alac"},
    "mov": {"aac", "ac3", "eac3", "mp3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be"},
    "mpegts": {"aac", "ac3", "eac3", "mp2", "mp3", "opus"},
    "ogg": {"opus", "vorbis", "flac"},
    "matroska": {
        "aac", "ac3", "eac3", "opus", "mp2", "mp3", "alac", "flac", "vorbis", "dts", "truehd", "pcm_s16le",
        "pcm_s24le", "pcm_s32le", "pcm_f32le",
    },
}  # fmt: skip
"""Muxer → the codecs that its files take, and that players expect there."""
_NO_OPUS = ("mov", "ipod")
_LIMITER = "alimiter=level=disabled:latency=1:attack=1:release=20:limit"
_DOWNMIX_PEAK = 0.794
"""-2 dBFS: encoders at low bitrates put 1 to 1.5 dB on top."""
_TRUE_PEAK_RATE = 192_000
"""Hertz at which a limiter sees the peaks between the samples."""
_PAIRING = ("mxf", "mov")
"""Containers whose mono tracks are channels of one programme, as broadcasters write them."""


class AudioOutput(NamedTuple):
    """An audio track of the output.

    `streams` are the source's: more than one where mono tracks become channels. `codec` is ffmpeg's encoder, or
    `copy`. `options` are ffmpeg's, in pairs of name and value, without the output's number. `channels` and `rate`
    describe what is expected of the output, and are 0 for a copy.
    """

    streams: tuple[int, ...]
    codec: str
    filters: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    channels: int = 0
    rate: int = 0
    language: str = languages.UNKNOWN
    title: str = ""
    is_default: bool = False

    @property
    def stream_codec(self) -> str:
        """Name of the codec in ffprobe; empty for a copy."""
        return {"libopus": "opus", "copy": ""}.get(self.codec, self.codec)

    def inputs(self) -> str:
        """The first links of the track's graph: its streams, joined into one where there are several."""
        links = "".join(f"[0:{stream}]" for stream in self.streams)
        if len(self.streams) == 1:
            return links
        layout = "5.1" if len(self.streams) == _CHANNELS["5.1"] else "stereo"
        return f"{links}join=inputs={len(self.streams)}:channel_layout={layout},"

    def at_level(self, gain: float, limit: float | None = None) -> "AudioOutput":
        """The track with a gain in decibels, and true peaks limited to `limit` dBTP."""
        level = [f"volume={gain:.2f}dB"]
        if limit is not None:
            level += [f"aresample={_TRUE_PEAK_RATE}", f"{_LIMITER}={10 ** (limit / 20):.4f}"]
        return self._replace(filters=(*self.filters[:-1], *level, self.filters[-1]))


class Level(NamedTuple):
    """The measured loudness of a track in LUFS: before, after, and the target. `track` counts from 1."""

    track: int
    source: float
    output: float
    target: float


class AudioPlan(NamedTuple):
    """The audio tracks of the output, warnings, and levels where they were measured."""

    tracks: tuple[AudioOutput, ...] = ()
    notices: tuple[Notice, ...] = ()
    levels: tuple[Level, ...] = ()


class _Group(NamedTuple):
    """Source tracks that become one track of the output."""

    tracks: tuple[AudioTrack, ...]

    @property
    def first(self) -> AudioTrack:
        return self.tracks[0]

    @property
    def streams(self) -> tuple[int, ...]:
        return tuple(track.stream for track in self.tracks)


def plan_audio(
    tracks: Sequence[AudioTrack], demuxer: str, profile: Profile, muxer: str, trim: Sequence[str] = ()
) -> AudioPlan:
    """The audio tracks of the output, from the source's. `trim` are filters that keep the wanted part of a track."""
    audio = profile.audio or Audio()
    if audio.codec == "none" or not tracks:
        return AudioPlan()
    notices: list[Notice] = []
    groups = _selected(tracks, demuxer, audio, notices)
    default = next((n for n, group in enumerate(groups) if group.first.is_default), 0)
    outputs = [_output(group, audio, muxer, trim, notices) for group in groups]
    alone = len(outputs) == 1
    # A title tells tracks apart; that of a single track may tell where or by whom the film was made.
    marked = (
        output._replace(is_default=n == default, title="" if alone else output.title)
        for n, output in enumerate(outputs)
    )
    return AudioPlan(tuple(marked), tuple(notices))


def graphs(plan: AudioPlan) -> list[str]:
    """The filter graph of each track that is encoded; its output is `audio0`, `audio1` and so on.

    Each track has a graph of its own, as ffmpeg holds a graph back until all of its inputs have begun.
    """
    return [
        f"{track.inputs()}{','.join(track.filters)}[audio{number}]"
        for number, track in enumerate(plan.tracks)
        if track.codec != "copy"
    ]


def output_options(plan: AudioPlan, encoded: Sequence[str] | None = None) -> list[str]:
    """Options of ffmpeg that map the tracks into an output and describe them there.

    `encoded` are the streams of ffmpeg's inputs, such as `2:0`, to copy the tracks from where that is already done.
    """
    options = []
    for number, track in enumerate(plan.tracks):
        link = f"0:{track.streams[0]}" if track.codec == "copy" else f"[audio{number}]"
        codec, encoding = ("copy", ()) if encoded else (track.codec, track.options)
        options += ["-map", encoded[number] if encoded else link, f"-c:a:{number}", codec]
        for name, value in zip(encoding[::2], encoding[1::2], strict=True):
            options += [f"-{name}:a:{number}", value]
        options += [f"-metadata:s:a:{number}", f"language={track.language}"]
        options += [f"-metadata:s:a:{number}", f"title={track.title}"] if track.title else []
        options += [f"-disposition:a:{number}", "default" if track.is_default else "0"]
    return options


def _selected(tracks: Sequence[AudioTrack], demuxer: str, audio: Audio, notices: list[Notice]) -> list[_Group]:
    """The tracks that the output gets, in their order. Appends a warning for each that it lacks."""
    wanted = audio.tracks or "first"
    chosen = list(tracks)
    if isinstance(wanted, list):
        chosen = _in_languages(wanted, tracks, notices)
        if not any(track.is_usable for track in chosen):
            chosen, wanted = list(tracks), "first"
            notices.append(Notice("audio-language-missing", "The output gets the first audio track instead."))
    groups = _grouped([track for track in chosen if track.is_usable], demuxer, audio)
    groups = groups[:1] if wanted == "first" else groups
    last = groups[0].first.stream if wanted == "first" and groups else None
    notices += [_unusable(track) for track in chosen if not track.is_usable and (last is None or track.stream < last)]
    if pairs := "; ".join("+".join(map(str, group.streams)) for group in groups if len(group.tracks) > 1):
        message = f"Mono tracks are taken as the channels of one track, by streams: {pairs}."
        notices.append(Notice("audio-paired", message))
    rest = len([track for track in tracks if track.is_usable]) - sum(len(group.tracks) for group in groups)
    if audio.tracks is UNSET and rest > 0:
        message = f"{rest} more audio tracks are left out; `tracks` of `audio` takes all, or languages."
        notices.append(Notice("audio-tracks-left-out", message))
    return groups


def _in_languages(wanted: list[str], tracks: Sequence[AudioTrack], notices: list[Notice]) -> list[AudioTrack]:
    """The tracks in the wanted languages, in the order of those. Appends a warning for each that is missing."""
    chosen: dict[AudioTrack, None] = {}
    for tag in wanted:
        matching = [track for track in tracks if languages.matches(tag, track.language)]
        chosen.update(dict.fromkeys(matching))
        if not matching:
            present = ", ".join(dict.fromkeys(languages.three_letters(track.language) for track in tracks))
            message = f"No audio track is in the language {tag}; the source has {present}."
            notices.append(Notice("audio-language-missing", message))
    return list(chosen)


def _unusable(track: AudioTrack) -> Notice:
    if track.is_empty:
        return Notice(
            "audio-empty", f"{_named(track)} has no sound within the output's time that can be decoded; it is left out."
        )
    codec = track.codec or "an unknown codec"
    return Notice("audio-undecodable", f"{_named(track)} is in {codec}, which no decoder reads; it is left out.")


def _named(track: AudioTrack) -> str:
    return f"The audio track of stream {track.stream}"


def _grouped(tracks: list[AudioTrack], demuxer: str, audio: Audio) -> list[_Group]:
    """Each track by itself; or by twos, if the file has an even number of mono tracks and no others, as PCM.

    By sixes where the output is to be 5.1. Tracks of different languages are no pair.
    """
    alone = [_Group((track,)) for track in tracks]
    mono = all(track.channels == 1 and track.codec.startswith("pcm_") for track in tracks)
    if demuxer not in _PAIRING or audio.codec == "copy" or not mono or len(tracks) < 2 or len(tracks) % 2:
        return alone
    size = 6 if audio.channels == "5.1" and len(tracks) % 6 == 0 else 2
    groups = [_Group(tuple(tracks[n : n + size])) for n in range(0, len(tracks), size)]
    if any(len({(track.language, track.rate) for track in group.tracks}) > 1 for group in groups):
        return alone
    return groups


def _output(group: _Group, audio: Audio, muxer: str, trim: Sequence[str], notices: list[Notice]) -> AudioOutput:
    """The track of the output that a group of the source's becomes."""
    track = group.first
    language, title = languages.three_letters(track.language), _printable(track.title)
    if audio.codec == "copy":
        if reason := _against_copying(track, audio, muxer, trim):
            message = f"{_named(track)} is encoded, not copied: {reason}."
            notices.append(Notice("audio-encoded", message))
        else:
            return AudioOutput(group.streams, "copy", language=language, title=title)
    encoder = _ENCODERS["opus" if audio.codec == "opus" else "aac"]
    if encoder == "libopus" and muxer in _NO_OPUS:
        encoder = "aac"
        notices.append(Notice("audio-codec-changed", f"{muxer} files take no Opus; the output has AAC."))
    layout, filters = _layout(group, audio, notices)
    rate = 44_100 if encoder == "aac" and track.rate and track.rate % 11_025 == 0 else 48_000
    bitrate = _bitrate(audio, layout, notices)
    end = f"aformat=sample_rates={rate}:channel_layouts={layout}"
    return AudioOutput(
        group.streams,
        encoder,
        (timing.SYNC, *trim, *filters, end),
        ("b", rate_text(bitrate)),
        channels=_CHANNELS[layout],
        rate=rate,
        language=language,
        title=title,
    )


def _against_copying(track: AudioTrack, audio: Audio, muxer: str, trim: Sequence[str]) -> str:
    """Why a track cannot be copied; empty if it can be."""
    if track.codec not in _COPIED.get(muxer, ()):
        return f"{muxer} files take no {track.codec}"
    if trim:
        return "a copy cannot begin or end at an exact time"
    if audio.loudness is not UNSET:
        return "a copy keeps its loudness"
    if audio.channels and audio.channels != "source" and _CHANNELS[audio.channels] != track.channels:
        return f"a copy keeps its {track.channels} channels"
    return ""


def _bitrate(audio: Audio, layout: str, notices: list[Notice]) -> int:
    if audio.bitrate is UNSET:
        return _BITRATES[layout]
    wanted, most = bits(audio.bitrate), _MOST_BITS_PER_CHANNEL * _CHANNELS[layout]
    if wanted > most:
        message = f"The audio bitrate is {rate_text(most)}, the most for {layout}, not {audio.bitrate}."
        notices.append(Notice("audio-bitrate-lowered", message))
    return min(wanted, most)


def _layout(group: _Group, audio: Audio, notices: list[Notice]) -> tuple[str, list[str]]:
    """The layout of an output, and the filters that bring the source's channels to it."""
    track = group.first
    if len(group.tracks) > 1:
        source, filters = ("5.1" if len(group.tracks) == 6 else "stereo"), list[str]()
    else:
        source, filters = _readable(track, notices)
    channels = track.channels if len(group.tracks) == 1 else len(group.tracks)
    natural = source if source in _CHANNELS else _SAME.get(source) or ("5.1" if channels > 3 else "stereo")
    keeps = audio.channels is UNSET or audio.channels == "source"
    layout = natural if audio.channels is UNSET or audio.channels == "source" else audio.channels
    if keeps and layout != _SAME.get(source, source):
        message = f"{_named(track)} has the layout {source}; the output has {layout}, which players take."
        notices.append(Notice("audio-layout-changed", message))
    elif _CHANNELS[layout] > _CHANNELS[natural] and (natural, layout) != ("mono", "stereo"):
        message = f"{_named(track)} has the layout {source}; the other channels of {layout} are silent."
        notices.append(Notice("audio-layout-changed", message))
    if (source, layout) == ("mono", "stereo"):
        filters = [*filters, "pan=stereo|c0=c0|c1=c0"]
    elif layout == "mono" and source != "mono":
        filters = [*filters, "aresample=ochl=stereo:osf=fltp", "pan=mono|c0=0.5*c0+0.5*c1"]
    else:
        filters = [*filters, f"aresample=ochl={layout}:osf=fltp"]
    if channels > _CHANNELS[layout]:
        filters.append(f"{_LIMITER}={_DOWNMIX_PEAK}")
    return layout, filters


def _readable(track: AudioTrack, notices: list[Notice]) -> tuple[str, list[str]]:
    """A track's layout, and filters that make it a standard one where the file names none that ffmpeg can mix."""
    if track.layout in _STANDARD:
        return track.layout, []
    if track.layout.startswith("ambisonic") and track.channels >= 4:
        message = f"{_named(track)} is {track.layout}; the output has two of its directions, left and right."
        notices.append(Notice("audio-layout-changed", message))
        return "stereo", ["pan=stereo|c0=0.5*c0+0.5*c1|c1=0.5*c0-0.5*c1"]
    layout = {1: "mono", 2: "stereo", 6: "5.1", 8: "5.1"}.get(track.channels, "stereo")
    if track.channels > 2:
        message = (
            f"{_named(track)} has {track.channels} channels without a known layout; "
            f"the first {_CHANNELS[layout]} are taken as {layout}."
        )
        notices.append(Notice("audio-layout-guessed", message))
    channels = "|".join(f"c{n}=c{n}" for n in range(_CHANNELS[layout]))
    return layout, [f"pan={layout}|{channels}"]


def _printable(title: str) -> str:
    return "".join(letter for letter in title if letter.isprintable())
