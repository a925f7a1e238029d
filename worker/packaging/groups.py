"""Sounds in groups of one layout, each with every language; and names that differ within a group. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from worker.packaging.rendition import Rendition
from worker.packaging.tracks import UNKNOWN_LANGUAGE, Track


class Group(NamedTuple):
    """The sounds that a variant can play; the first is the default unless a track is marked so."""

    name: str
    renditions: list[Rendition]

    @property
    def default(self) -> Rendition:
        """The rendition that plays unless the viewer chooses."""
        return next((one for one in self.renditions if one.track.is_default), self.renditions[0])


def audio_groups(sounds: Sequence[Rendition]) -> list[Group]:
    """A group for each layout, in the order of the tracks. A sound that lacks a layout is there with the one it has.

    Groups of the same sounds are one: players would offer each rung twice.
    """
    layouts = list(dict.fromkeys(layout(one.track) for one in sounds))
    variants: dict[tuple[str, str], list[Rendition]] = {}
    for one in sounds:
        versions = variants.setdefault((one.track.language, one.track.label), [])
        versions.append(one)
    groups = list[Group]()
    for name in layouts:
        chosen: list[Rendition] = []
        for versions in variants.values():
            same = [one for one in versions if layout(one.track) == name]
            chosen += same or versions[:1]
        if all(chosen != group.renditions for group in groups):
            groups.append(Group(f"audio-{name}", chosen))
    return groups


def layout(track: Track) -> str:
    """The layout of a sound: its group, or its channels."""
    return track.group or {0: "main", 1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}.get(
        track.channels, f"{track.channels}-channels"
    )


def unique_names(tracks: Sequence[Track], unnamed: str) -> list[str]:
    """A name for each track: its label or its language, with a number behind it where another has the same."""
    names: list[str] = []
    for track in tracks:
        base = track.label or (track.language if track.language != UNKNOWN_LANGUAGE else unnamed)
        name, number = base, 2
        while name in names:
            name, number = f"{base} {number}", number + 1
        names.append(name)
    return names
