"""An encode with a target of quality of a film that cannot be cut: it is one part, and its probes are short encodes."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from msgspec import UNSET, structs

from elasticrecode.jobs.events import Progress, TargetReached
from elasticrecode.media.profiles import Audio, Ffmpeg, Profile, Target
from worker.division import span_name
from worker.errors import PermanentError
from worker.goals import Goal, ReachedPart, Try, aim_of, reached, score_of, scored_of
from worker.media import timing
from worker.media.encode import Encoded, inspect, transcode
from worker.media.plan import make_plan
from worker.media.rates import Span, probe_encode
from worker.media.subtitles import SideFile
from worker.quality.aim import NTH, Aim, Probe, Scored, corrections, first_crf, learnt, next_crf, selected, windows
from worker.quality.pooled import Measured
from worker.quality.score import Pair, measure
from worker.sandbox.runner import Runner
from worker.settings import Settings

_WINDOW_SECONDS = 2.0
_MOST_WINDOWS = 2000
_TRIES = 3
Report = Callable[[Progress], None]


class Aimed(NamedTuple):
    """The encode that was kept, its measurement, and what came of its target."""

    encoded: Encoded
    measured: Measured
    target: TargetReached


class _Encoder(NamedTuple):
    """An encode of a whole file, or of a window of it, and its score."""

    source: Path
    target: Path
    uri: str
    muxer: str
    profile: Profile
    settings: Settings
    runner: Runner
    report: Report
    sides: Sequence[SideFile]

    def encode(self, encode: Ffmpeg, target: Path, *, is_window: bool) -> Encoded:
        silent = structs.replace(self.profile, audio=Audio(codec="none"), images=UNSET) if is_window else self.profile
        report = (lambda _: None) if is_window else self.report
        return transcode(
            *(self.source, target, self.uri, self.muxer, silent, encode, self.settings, self.runner, report),
            then_score=not is_window,
            sides=self.sides,
        )

    def measure(self, encoded: Encoded, target: Path, aim: Aim, nth: int, *, is_window: bool) -> tuple[Measured, float]:
        """The measurement of every `nth` frame of an encode, and its mean VMAF."""
        pair = Pair(self.source, target, self.uri, self.uri, encoded.plan)
        scoring = self.profile.vmaf or score_of(aim, nth)
        report = (lambda _: None) if is_window else self.report
        measured = measure(
            *(pair, scoring, self.settings, self.runner, report, self.source.parent),
            before=0 if is_window else encoded.output.frames or 0,
            with_stills=not is_window,
        )
        score = measured.scores.mean("vmaf")
        if not score:
            raise PermanentError("score-incomplete", "libvmaf gave no score of the output.")
        return measured, score.mean


def encode_aimed(
    source: Path,
    target: Path,
    uri: str,
    muxer: str,
    profile: Profile,
    settings: Settings,
    runner: Runner,
    report: Report,
    sides: Sequence[SideFile] = (),
) -> Aimed:
    """Encode `source` into `target` so that it reaches the VMAF of the profile. Arguments and errors as `transcode`."""
    encode = profile.ffmpeg
    if not encode:
        raise ValueError("the job encodes no file")
    encoder = _Encoder(source, target, uri, muxer, profile, settings, runner, report, sides)
    goal = _learn(encoder, encode)
    crf, shots, tries = goal.curve.crf, list[tuple[Path, Encoded, Measured]](), list[Try]()
    while True:
        file = target.with_name(f"{target.name}-{len(tries)}")
        encoded, measured, tried = _shoot(encoder, encode, crf, file, goal)
        shots.append((file, encoded, measured))
        tries.append(tried)
        scored = [each.scored for each in tries]
        kept = selected(goal.aim, {0: scored})[0]
        wanted = corrections(goal.curve, goal.aim, [_span(goal)], {0: scored[kept]}, {0: scored})
        if not wanted or len(tries) == _TRIES:
            break
        crf = wanted[0]
    file, encoded, measured = shots[kept]
    file.rename(target)
    for other, _, _ in shots:
        other.unlink(missing_ok=True)
    name = span_name(Fraction(0), Fraction(_span(goal).seconds).limit_denominator(1000))
    part = ReachedPart(name, tries[kept].scored, tries)
    return Aimed(encoded, measured, reached(goal, tries[kept].scored.vmaf, [part]))


def _learn(encoder: _Encoder, encode: Ffmpeg) -> Goal:
    """The goal of an encode, by probes of windows all over the film."""
    source = inspect(encoder.source, encoder.settings, encoder.runner)
    plan = make_plan(source, encoder.profile, structs.replace(encode, quality=Target(crf=0.0)), encoder.muxer)
    aim = aim_of(encoder.profile, plan.picture.size, source.video.upright)
    if not aim:
        raise ValueError("the encode has no VMAF for a target")
    begin, length = encode.start or 0.0, timing.length(source.video, encode) or _WINDOW_SECONDS
    count = min(max(1, int(length / _WINDOW_SECONDS)), _MOST_WINDOWS)
    film = [Span(length / count)] * count
    probes, runner = list[Probe](), encoder.runner
    crf: float | None = first_crf(encode, aim)
    while crf is not None:
        for number in windows(film):
            start = begin + number * length / count
            window = structs.replace(
                probe_encode(encode, crf), start=start, end=start + min(length / count, _WINDOW_SECONDS)
            )
            file, before = encoder.target.with_name("window"), runner.cpu_seconds
            encoded = encoder.encode(window, file, is_window=True)
            _, vmaf = encoder.measure(encoded, file, aim, NTH, is_window=True)
            bits, frames = 8.0 * file.stat().st_size, encoded.output.frames or 0
            probes.append(Probe(number, crf, vmaf, bits, frames, round(runner.cpu_seconds - before, 3)))
            file.unlink()
        crf = next_crf(encode, aim, film, probes)
    return Goal(aim, learnt(encode, aim, film, probes), film, probes, scored_of(encoder.profile, length))


def _shoot(encoder: _Encoder, encode: Ffmpeg, crf: float, file: Path, goal: Goal) -> tuple[Encoded, Measured, Try]:
    """The film encoded at a CRF, and its score."""
    runner, before = encoder.runner, encoder.runner.cpu_seconds
    encoded = encoder.encode(structs.replace(encode, quality=Target(crf=round(crf, 2))), file, is_window=False)
    between = runner.cpu_seconds
    measured, vmaf = encoder.measure(encoded, file, goal.aim, goal.nth, is_window=False)
    scored = Scored(crf, vmaf, 8.0 * file.stat().st_size, encoded.output.frames or 0)
    return encoded, measured, Try(scored, round(between - before, 2), round(runner.cpu_seconds - between, 2))


def _span(goal: Goal) -> Span:
    """All of the film."""
    return Span(sum(span.seconds for span in goal.film))
