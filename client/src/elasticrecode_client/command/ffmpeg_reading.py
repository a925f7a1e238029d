"""What has been read of ffmpeg's options: the fields of a profile, faults and notes. Pure."""

from typing import Any, NamedTuple

from elasticrecode_client.command.ffmpeg_values import Unsayable


class Flag(NamedTuple):
    """An option as it was typed: its name with its dash, and its value; None for one that has none.

    `is_early` says that it stands in front of `-i`, where times are those of the source.
    """

    name: str
    value: str | None
    is_early: bool = False

    @property
    def text(self) -> str:
        """The option as a person types it."""
        return self.name if self.value is None else f"{self.name} {self.value}"


class WordFault(NamedTuple):
    """An option that a profile cannot say: why, and the nearest thing that works; empty where nothing does."""

    flag: str
    reason: str
    instead: str = ""

    def __str__(self) -> str:
        return f"{self.flag}: {self.reason}." + (f" Nearest: {self.instead}" if self.instead else "")


class Reading:
    """The fields of a profile as options fill them. `video` has, for a while, options that others decide about."""

    def __init__(self) -> None:
        self.video: dict[str, Any] = {}
        self.audio: dict[str, Any] = {}
        self.subtitles: dict[str, Any] = {}
        self.inputs: list[str] = []
        self.faults: list[WordFault] = []
        self.notes: list[str] = []
        self.flags: dict[str, Flag] = {}
        self.has_video = True
        self.maps_video = False

    def fault(self, flag: Flag, fault: Unsayable) -> None:
        """Note what an option cannot have."""
        self.faults.append(WordFault(flag.text, fault.reason, fault.instead))

    def fault_at(self, name: str, reason: str, instead: str = "") -> None:
        """Note a fault of an option, if it was given."""
        if name in self.flags:
            self.fault(self.flags[name], Unsayable(reason, instead))

    def set_interval(self, name: str, seconds: float) -> None:
        """Write the seconds from keyframe to keyframe that an option asks for, or its fault."""
        if not 0.1 <= seconds <= 60:
            self.fault_at(name, f"{seconds:g} s from keyframe to keyframe", "0.1 to 60 s")
        else:
            self.video["keyframeSeconds"] = float(f"{seconds:.6g}")

    def profile(self) -> dict[str, Any]:
        """The profile of what has been read."""
        parts: dict[str, Any] = {}
        if self.video and self.has_video:
            parts["ffmpeg"] = self.video
        if self.audio or not self.has_video:
            parts["audio"] = self.audio or {"codec": "aac"}
        if self.subtitles and self.has_video:
            parts["subtitles"] = self.subtitles
        return parts
