"""Audio: which tracks the output gets, their layout, codec and loudness. Pure."""

from typing import NamedTuple

from elasticrecode.jobs.events import Notice
from elasticrecode.media.profiles import Profile
from worker.media.source import Source


class AudioOutput(NamedTuple):
    """An audio track of the output: the source's stream, filters, and options of ffmpeg without the output's number."""

    stream: int
    filters: tuple[str, ...]
    codec: str
    options: tuple[str, ...] = ()
    language: str = ""


class AudioPlan(NamedTuple):
    """The audio tracks of the output, and warnings."""

    tracks: tuple[AudioOutput, ...] = ()
    notices: tuple[Notice, ...] = ()


def plan_audio(source: Source, profile: Profile, muxer: str) -> AudioPlan:
    """The audio tracks of the output."""
    return AudioPlan(tuple(AudioOutput(track.stream, (), "aac", ("b", "128k")) for track in source.audio[:1]))
