"""What a cut is made by. It travels as JSON from the worker that divides a film to those that encode it. Pure."""

import msgspec

from worker.cuts.fragments import Sample


class Uncuttable(Exception):
    """A source that cannot be cut. The message is the reason, as a clause about the film such as `it has no index`."""


class Film(msgspec.Struct, frozen=True):
    """What all cuts of a film share.

    ffmpeg reads a cut with the `demuxer` and `-copyts`, and finds the film as its stream `stream`, whose clock has
    `ticks` a second. `head` are the first bytes of each cut, `track` is the film's number in its container: the id of
    a track, or a PID.
    A picture whose time in a cut is PTS is shown by the undivided film at PTS - `shift` ticks. Those before `first` and
    from `until` on are not shown at all: they lie outside of the edit. No picture comes behind one that is shown
    `slack` ticks later. `rest_head` are the first bytes of the rest, where it is made of pieces.
    """

    demuxer: str
    head: bytes
    shift: int
    stream: int
    ticks: int
    track: int
    first: int | None = None
    until: int | None = None
    slack: int = 0
    rest_head: bytes = b""

    @property
    def filters(self) -> tuple[str, ...]:
        """The filters that give the decoded pictures of a cut the times that those of the undivided film have."""
        bounds = [
            f"{name}_pts={value}" for name, value in (("start", self.first), ("end", self.until)) if value is not None
        ]
        return (*((f"trim={':'.join(bounds)}",) if bounds else ()), f"setpts=PTS-({self.shift})")


class Recipe(msgspec.Struct, frozen=True):
    """How one cut is made: the byte ranges of the source that it needs, ascending, each an offset and a size.

    `samples` are the film's, with offsets in the source, where the cut gets an index of its own (mp4, mov). `own` is
    the first byte and the one behind the last of the range that no other cut of the film has for its own: what it
    holds beside the film goes into the rest; in an mp4 or mov whose tracks change every few pictures, that is `beside`,
    byte ranges with an offset and a size. `begin` is the time of the first picture in ticks,
    `end` the one up to which the cut needs all pictures; None for the end of the film.
    """

    pieces: list[tuple[int, int]]
    samples: list[Sample] = []
    own: tuple[int, int] = (0, 0)
    beside: list[tuple[int, int]] = []
    begin: int = 0
    end: int | None = None
