"""What the steps of a job observe for its certificate. Pure."""

from collections.abc import Iterable
from typing import NamedTuple, Self

from msgspec import Struct

from elasticrecode.jobs.events import Notice
from worker.certificate.programs import Program
from worker.media.buffer import Rate
from worker.media.encode import Encoded
from worker.media.source import Source
from worker.packaging.findings import Rule
from worker.quality.html_report import Moment
from worker.sandbox.steps import Step

_LOSSES = {
    "frames-complete": {"picture-damaged", "pictures-hidden", "shorter-than-declared"},
    "sound-complete": {"sound-damaged", "sound-shorter", "sound-cut"},
    "metadata-complete": {"hdr-metadata-lost"},
}
"""Rule of every job → the warnings by which it is broken."""


class SoundLevel(Struct, frozen=True, omit_defaults=True):
    """The loudness of a track in LUFS, as far as it was measured: of the source, of the output, and the target.

    `peak` is the true peak of the output in dBTP.
    """

    name: str
    source: float | None = None
    output: float | None = None
    target: float | None = None
    peak: float | None = None


class PartOutput(Struct, frozen=True, omit_defaults=True):
    """An output of a part: its file, its CRF, its mean VMAF if it was scored, its bits and its frames."""

    file: str
    crf: float
    bits: int
    frames: int
    vmaf: float | None = None


class FilmPart(Struct, frozen=True, omit_defaults=True):
    """A part of a divided film. `start` and `end` are the seconds of the source that it needs, `end` None for the last.

    `cut` is the file from which its runs read the film. `outputs` has its outputs by their names: `file`, or `rung-0`
    and so on.
    """

    name: str
    start: float
    end: float | None
    attempt: int
    cut: str
    steps: list[Step]
    outputs: dict[str, PartOutput]
    programs: list[Program] = []


class JoinedPart(Struct, frozen=True):
    """A part's file in a join. It shows frames from `start` to `end`, in ticks; `end` None for the last."""

    file: str
    name: str
    start: int
    end: int | None
    frames: int


class Join(Struct, frozen=True):
    """How the files of parts become one, `target`; `ticks` are those of a second, `edited` is as `join` takes it."""

    target: str
    ticks: int
    edited: bool
    parts: list[JoinedPart]


class FilmRecord(Struct, frozen=True):
    """How a divided film is made: its parts, each a cut of the source, and their joins.

    A cut has `lead` seconds of the source around its part; `has_rest` says that cuts bring the rest of the film, its
    sound and texts.
    """

    lead: float
    has_rest: bool
    parts: list[FilmPart]
    joins: list[Join]


class Evidence(NamedTuple):
    """What a job leaves for its certificate. `sha256` is that of the source, empty where it was not read whole.

    `steps` are runs of other workers, without their texts, and of several encodes of one file the one that was kept.
    """

    source: Source | None = None
    sha256: str = ""
    rates: tuple[Rate, ...] = ()
    sounds: tuple[SoundLevel, ...] = ()
    rules: tuple[Rule, ...] = ()
    moments: tuple[Moment, ...] = ()
    film: FilmRecord | None = None
    steps: tuple[Step, ...] = ()

    def joined(self, other: Self) -> Self:
        """This evidence with that of the other outputs of the job. The moments are this one's, if there are any."""
        return self._replace(
            source=self.source or other.source,
            sha256=self.sha256 or other.sha256,
            rates=(*self.rates, *other.rates),
            sounds=(*self.sounds, *other.sounds),
            rules=(*self.rules, *other.rules),
            moments=self.moments or other.moments,
            film=self.film or other.film,
            steps=(*self.steps, *other.steps),
        )


def evidence_of(encoded: Encoded, moments: Iterable[Moment] = ()) -> Evidence:
    """What the encode of the one output file shows. The moments are those of its score."""
    plan, output = encoded.plan, encoded.output
    size, signal = plan.picture.size, plan.picture.signal
    shown = f"{output.width}x{output.height} {output.videoCodec}"
    planned = f"{size.width}x{size.height} planned, {signal.pixel_format}"
    return Evidence(
        source=plan.source,
        rates=(encoded.rate,) if encoded.rate else (),
        sounds=tuple(
            SoundLevel(f"audio {each.track}", round(each.source, 2), round(each.output, 2), each.target)
            for each in plan.audio.levels
        ),
        rules=(Rule("picture-as-planned", passed=True, measured=f"{shown}; {planned}", where="file"),),
        moments=tuple(moments),
        steps=(encoded.step,) if encoded.step else (),
    )


def rules_of(evidence: Evidence, notices: Iterable[Notice]) -> list[Rule]:
    """The findings of all rules: those of the steps, of the rates beside their caps, and by the warnings."""
    codes = [notice.code for notice in notices]
    by_codes = []
    for rule, losses in _LOSSES.items():
        present = [code for code in codes if code in losses]
        by_codes.append(Rule(rule, not present, ", ".join(present) or "no warning"))
    kept = [
        Rule("cap-kept", rate.overflow == 0, f"{rate.overflow} bits over a buffer of {rate.buffer}", rate.name)
        for rate in evidence.rates
        if rate.overflow is not None
    ]
    return [*evidence.rules, *by_codes, *kept]
