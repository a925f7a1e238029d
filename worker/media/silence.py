"""Audio tracks that turn out to have no sound: what a run of ffmpeg says of them. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence

from elasticrecode.jobs.events import Notice
from worker.errors import PermanentError
from worker.media import tally
from worker.media.audio import AudioOutput, AudioPlan
from worker.media.source import AudioTrack, Source
from worker.media.tally import Decoded

ERROR_RATE = 69
"""ffmpeg's exit status when more than two thirds of a track's packets could not be decoded. All else is written."""
_SKIPS_EMPTY = ("mp4", "mov", "ipod")
"""Muxers that write no track without packets."""
_GRAPH_FAILED = re.compile(r"\[fc#(\d+) @ \w+\] .*Task finished with error")
_ENCODER_FAILED = re.compile(r"\[aost#0:(\d+)/.*Task finished with error")


def mute(
    source: Source,
    plan: AudioPlan,
    muxer: str,
    status: int,
    counts: Mapping[tuple[int, int], Decoded],
    lines: Iterable[str],
    *,
    alone: bool = False,
) -> frozenset[int]:
    """The source's audio streams without which ffmpeg should run again; empty if it need not.

    Those are tracks that stopped a run, and empty tracks that an output should not have, or in whose place it can have
    another. `status` is the exit status of a run with this plan, `lines` its log at level verbose. `alone` says that
    its first output has the encoded tracks alone, without pictures.
    """
    every_line = list(lines)
    planned = {stream for track in plan.tracks for stream in track.streams}
    others = any(track.is_usable and track.stream not in planned for track in source.audio)
    if not status and muxer in _SKIPS_EMPTY and not others:
        return frozenset()
    silent = {
        stream
        for track in plan.tracks
        for stream in track.streams
        if (heard := counts.get((0, stream))) and not heard.frames and (track.codec != "copy" or not heard.packets)
    }
    silent |= {stream for track in _unwritten(plan, every_line, alone=alone) for stream in track.streams}
    if status and status != ERROR_RATE:
        text = "\n".join(every_line)
        first, encoded = 0 if alone else 1, _encoded(plan)
        graphs = {int(number) - first for number in _GRAPH_FAILED.findall(text)}
        outputs = {int(number) - first for number in _ENCODER_FAILED.findall(text)}
        failed = [track for number, track in enumerate(encoded) if number in graphs]
        failed += [track for number, track in enumerate(encoded if alone else plan.tracks) if number in outputs]
        silent |= {stream for track in failed for stream in track.streams}
    return frozenset(silent)


def _encoded(plan: AudioPlan) -> list[AudioOutput]:
    return [track for track in plan.tracks if track.codec != "copy"]


def _unwritten(plan: AudioPlan, lines: Iterable[str], *, alone: bool) -> list[AudioOutput]:
    """The tracks of which nothing was written, such as those that end before the part of the film that is wanted."""
    written = tally.written(lines)
    numbered = enumerate(_encoded(plan)) if alone else enumerate(plan.tracks, 1)
    return [track for number, track in numbered if written.get(number) == 0]


def excusable(status: int, picture: Decoded | None) -> bool:
    """Whether a run that ended with ERROR_RATE did so for its sound: the pictures were decoded."""
    return status == ERROR_RATE and picture is not None and picture.errors * 3 <= picture.packets * 2


def check(
    plan: AudioPlan,
    tracks: Sequence[AudioTrack],
    counts: Mapping[tuple[int, int], Decoded],
    lines: Iterable[str],
    *,
    alone: bool = False,
) -> list[Notice]:
    """The warnings of empty tracks. Raises PermanentError if an output has other `tracks` than planned and decoded.

    `alone` is as for `mute`.
    """
    unwritten = _unwritten(plan, lines, alone=alone)
    empty = [
        track
        for track in plan.tracks
        if track in unwritten
        or (
            (heard := counts.get((0, track.streams[0])))
            and not (heard.packets if track.codec == "copy" else heard.frames)
        )
    ]
    expected = [(track.stream_codec, track.channels) for track in plan.tracks if track not in empty]
    copied = [not codec for codec, _ in expected]
    actual = [(track.codec, track.channels) for track in tracks]
    differs = [
        not is_copied and wanted != present
        for is_copied, wanted, present in zip(copied, expected, actual, strict=False)
    ]
    if len(actual) != len(expected) or any(differs):
        raise PermanentError("output-invalid", f"The output's audio tracks are {actual}, not {expected}.")
    return [
        Notice(
            "audio-empty",
            f"The audio track of stream {track.streams[0]} has no sound within the output's time; it is left out.",
        )
        for track in empty
    ]
