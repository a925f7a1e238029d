"""Sound: which tracks the output gets, their layout, codec and loudness. Pure."""

from typing import NamedTuple

from elasticrecode.jobs.events import Notice
from elasticrecode.media.profiles import Profile
from worker.media.source import Source


class Voice(NamedTuple):
    """An audio track of the output: the source's stream, filters, and options of ffmpeg without the output's number."""

    stream: int
    filters: tuple[str, ...]
    codec: str
    options: tuple[str, ...] = ()
    language: str = ""


class SoundPlan(NamedTuple):
    """The audio tracks of the output, and warnings."""

    voices: tuple[Voice, ...] = ()
    notices: tuple[Notice, ...] = ()


def plan_sound(source: Source, profile: Profile, muxer: str) -> SoundPlan:
    """The audio tracks of the output."""
    return SoundPlan(tuple(Voice(sound.stream, (), "aac", ("b", "128k")) for sound in source.sounds[:1]))
