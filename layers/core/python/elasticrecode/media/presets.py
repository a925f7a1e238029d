"""Presets: profiles with a name.

A request with `"profile": {"preset": NAME}` is read as if the preset's profile stood there, so records and workers
know profiles only.
"""

import re
from collections.abc import Mapping
from typing import Any

from elasticrecode.errors import Fault
from elasticrecode.validation import Body

Profiles = Mapping[str, Any]
"""Name of a preset → its profile, in the words of requests."""

NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}", re.ASCII)
NAME_RULE = "1 to 64 lower-case letters, digits, '-' and '.', the first a letter or digit"
POINTER = "/profile/preset"
"""Where faults of a preset, and of its profile, are reported."""

STORED_LIMIT = 200
"""Stored presets of a deployment: one small read returns them all."""

_BESIDE = {"reuse"}
_FIELD = POINTER.rpartition("/")[2]
_LISTED = 30
"""Names that a fault lists; of more presets, it lists the closest."""
_SHOWN = 80


def _encode(codec: str, scale: str, bitrate: str, platform: str = "cpu") -> dict[str, str]:
    return {"codec": codec, "scale": scale, "bitrate": bitrate, "profile": "quality", "platform": platform}


def _web(scale: str, crf: int, cap: str) -> dict[str, Any]:
    """A picture that every browser plays, with a keyframe each two seconds, and stereo."""
    encode = {"codec": "h264", "scale": scale, "quality": {"crf": crf}, "maxBitrate": cap, "keyframeSeconds": 2}
    return {"ffmpeg": encode, "audio": {"codec": "aac", "channels": "stereo"}}


def _score(scale: str) -> dict[str, str]:
    return {"scale": scale, "psnr": "enable", "ssim": "enable"}


BUILT_IN: Profiles = {
    "h264-1080p": {"ffmpeg": _encode("h264", "1080p", "5M")},
    "h264-720p": {"ffmpeg": _encode("h264", "720p", "3M")},
    "h264-480p": {"ffmpeg": _encode("h264", "480p", "1500K")},
    "h264-360p": {"ffmpeg": _encode("h264", "360p", "1M")},
    "h265-1080p": {"ffmpeg": _encode("h265", "1080p", "3M")},
    "h265-720p": {"ffmpeg": _encode("h265", "720p", "1800K")},
    # At the same bitrate, the output of hardware encoders looks a little worse.
    "h264-1080p-gpu": {"ffmpeg": _encode("h264", "1080p", "6M", "gpu")},
    "h264-720p-gpu": {"ffmpeg": _encode("h264", "720p", "3500K", "gpu")},
    "h265-1080p-gpu": {"ffmpeg": _encode("h265", "1080p", "4M", "gpu")},
    "h265-720p-gpu": {"ffmpeg": _encode("h265", "720p", "2500K", "gpu")},
    "h264-1080p-vmaf": {"ffmpeg": _encode("h264", "1080p", "5M"), "vmaf": _score("1080p")},
    "h264-720p-vmaf": {"ffmpeg": _encode("h264", "720p", "3M"), "vmaf": _score("720p")},
    "vmaf-1080p": {"vmaf": _score("1080p")},
    "vmaf-720p": {"vmaf": _score("720p")},
    "web-1080p": _web("1080p", 21, "8M"),
    "web-720p": _web("720p", 22, "4M"),
    "archive": {
        "ffmpeg": {"codec": "h265", "scale": "source", "quality": {"crf": 18}, "bitDepth": 10, "speed": "slow"},
        "audio": {"codec": "copy", "tracks": "all"},
        "subtitles": {"tracks": "all"},
    },
    "small": {
        "ffmpeg": {"codec": "av1", "scale": "720p", "quality": {"crf": 35}, "maxBitrate": "2M", "bitDepth": 10},
        "audio": {"codec": "aac", "bitrate": "96K", "channels": "stereo"},
    },
    # The loudness that social networks play at, so that they change nothing.
    "social-portrait": {
        "ffmpeg": {
            "codec": "h264",
            "scale": "1080:1920",
            "fit": "crop",
            "quality": {"crf": 20},
            "maxBitrate": "10M",
            "frameRate": "30",
            "keyframeSeconds": 2,
            "dynamicRange": "sdr",
        },
        "audio": {"codec": "aac", "channels": "stereo", "loudness": -14},
    },
    "hls": {"package": {"formats": ["hls"], "ladder": "h264"}, "images": {"poster": True, "sprite": {}}},
    # Browsers that decode no HEVC need the preset hls or cmaf-av1.
    "hls-hevc": {"package": {"formats": ["hls"], "ladder": "h265"}, "images": {"poster": True, "sprite": {}}},
    "cmaf-av1": {"package": {"ladder": "av1"}, "images": {"poster": True, "sprite": {}}},
    "audio-only": {"audio": {"codec": "aac", "bitrate": "128K", "channels": "stereo"}},
}
"""The presets of every deployment."""


class ProfileBody(Body):
    """The body of a request whose profile may name a preset. Its `content` has the preset's profile instead."""

    def __init__(
        self, text: bytes, presets: Profiles, lists: Mapping[str, int] | None = None, advice: str = ""
    ) -> None:
        """Parse as Body does. `presets` is read only where the body names one, and as a whole only for a fault."""
        super().__init__(text, lists, advice)
        self._given: set[str] | None = None
        self._preset = ""
        profile = self.fields.get("profile")
        if isinstance(profile, dict) and _FIELD in profile:
            self._fill(dict(profile), presets)

    def _fill(self, profile: dict[str, Any], presets: Profiles) -> None:
        """Replace the name by the preset's profile."""
        self._given = set(profile)
        name = profile.pop(_FIELD)
        filled = presets.get(name) if isinstance(name, str) else None
        if filled is None:
            self.faults.append(Fault(POINTER, _unknown(name, presets)))
        else:
            self._preset = name
        if others := profile.keys() - _BESIDE:
            beside = ", ".join(map(str, sorted(others)))
            detail = f"must stand alone, without {beside:.{_SHOWN}}: use the preset as it is, or write out the profile"
            self.faults.append(Fault(POINTER, detail))
        self.content = {**self.fields, "profile": {**(filled or {}), **profile}}

    def reported(self, fault: Fault) -> Fault | None:
        """A fault of the preset's profile, reported at the preset. Of an unknown preset's profile there is none."""
        path = fault.pointer.removeprefix("/profile/")
        part = path.split("/")[0].replace("~1", "/").replace("~0", "~")
        if self._given is None or path == fault.pointer or part in self._given:
            return fault
        if not self._preset:
            return None
        return Fault(POINTER, f"is {self._preset}, which cannot be used here: {path} {fault.detail}")


def _unknown(name: object, presets: Profiles) -> str:
    """The detail of a fault for a name that no preset has."""
    if not isinstance(name, str):
        return "must be a string: the name of a preset"
    known, shown = sorted(presets), repr(name[:_SHOWN])
    if len(known) <= _LISTED:
        return f"must be one of {', '.join(known)}, not {shown}"
    from difflib import get_close_matches  # imported here: only this fault needs it

    close = get_close_matches(name[:_SHOWN].lower(), known, cutoff=0.4) or known[:3]
    return f"must name one of {len(known)} presets, such as {', '.join(close)}, not {shown}; GET /v1/presets lists them"
