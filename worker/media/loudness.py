"""Loudness: brings audio tracks to a target by EBU R 128, from measurements before the encode.

The first pass measures a track behind its filters. A linear gain does the rest where the peaks leave room. Where they
do not, a true-peak limiter follows the gain, and a rehearsal encodes the sound alone and measures what came out, as
encoders raise peaks and limiters lower loudness.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from elasticrecode.jobs.events import Notice
from worker.media.audio import AudioOutput, AudioPlan, Level
from worker.media.demuxers import input_options
from worker.sandbox.runner import Runner, last_lines

PEAK = -1.0
"""The highest true peak of an output, in dBTP."""
_TOLERANCE = 0.3
_HEADROOM = 3.0
"""Decibels below PEAK from which no encoder overshoots it."""
_REHEARSALS = 6
_LONGEST_STEP = 6.0
_MOST_LIMITING = 12.0
"""Decibels that a limiter may take from the peaks. More would flatten the sound."""
_GATE = -70.0
"""LUFS; ebur128 reports this for silence, and for less than 0.4 s. Here also for a track that cannot be decoded."""
_LOUDNESS = re.compile(r"^\s+I:\s+(-?[\d.]+) LUFS", re.MULTILINE)
_PEAK = re.compile(r"^\s+Peak:\s+(-?[\d.]+|-?inf) dBFS", re.MULTILINE)
_METER = "ebur128=peak=true:framelog=quiet"


class Loudness(NamedTuple):
    """The loudness of a track in LUFS, and its true peak in dBTP."""

    loudness: float
    peak: float


class _Attempt(NamedTuple):
    """A gain in decibels, and the loudness in LUFS that an encode with it has."""

    gain: float
    loudness: float


class Meter(NamedTuple):
    """Measures tracks of a source with ffmpeg. `options` open the source; `seconds` bound a pass."""

    ffmpeg: str
    runner: Runner
    folder: Path
    options: Sequence[str]
    seconds: float

    def measure(self, track: AudioOutput) -> Loudness:
        """A track of the output before it is encoded. Raises as `Runner.run`."""
        graph = f"{track.inputs()}{','.join((*track.filters, _METER))}[audio]"
        return self._read([*self.options, "-filter_complex", graph, "-map", "[audio]", "-f", "null", "-"])

    def rehearse(self, track: AudioOutput) -> Loudness:
        """A track of the output after it was encoded. Raises as `Runner.run`."""
        path = self.folder / "rehearsal"
        options = [f"-{option}:a" if number % 2 == 0 else option for number, option in enumerate(track.options)]
        graph = f"{track.inputs()}{','.join(track.filters)}[audio]"
        encode = ["-filter_complex", graph, "-map", "[audio]", "-c:a", track.codec, *options]
        try:
            self._run([*self.options, *encode, "-f", "matroska", f"file:{path}"])
            reading = [*input_options(self.runner.limits), "-f", "matroska", "-i", f"file:{path}"]
            return self._read([*reading, "-af", _METER, "-f", "null", "-"])
        finally:
            path.unlink(missing_ok=True)

    def _read(self, arguments: list[str]) -> Loudness:
        log = "\n".join(self._run(arguments))
        loudness, peak = _LOUDNESS.findall(log), _PEAK.findall(log)
        return Loudness(float(loudness[-1]) if loudness else _GATE, float(peak[-1]) if peak else float("-inf"))

    def _run(self, arguments: list[str]) -> list[str]:
        log = self.folder / "loudness.log"
        command = [self.ffmpeg, "-hide_banner", "-nostdin", "-y", "-nostats", *arguments]
        self.runner.run(command, self.folder, log, seconds=self.seconds)
        return last_lines(log, self.folder)


def levelled(plan: AudioPlan, target: float, meter: Meter) -> AudioPlan:
    """The plan whose encoded tracks reach an integrated loudness of `target` LUFS, and true peaks of at most PEAK."""
    tracks, notices, levels = list[AudioOutput](), list(plan.notices), list[Level]()
    for number, track in enumerate(plan.tracks):
        if track.codec == "copy":
            tracks.append(track)
            continue
        measured = meter.measure(track)
        if measured.loudness <= _GATE:
            message = f"Audio track {number + 1} is silent, or shorter than 0.4 s; its level stays as it is."
            notices.append(Notice("audio-silent", message))
            tracks.append(track)
            continue
        changed, reached = _to_target(track, target, measured, meter)
        tracks.append(changed)
        levels.append(Level(number + 1, measured.loudness, reached, target))
        if abs(reached - target) > 0.5:
            message = (
                f"Audio track {number + 1} has {reached:.1f} LUFS, not {target:g}: "
                f"more would flatten its peaks, which stay below {PEAK:g} dBTP."
            )
            notices.append(Notice("audio-loudness-missed", message))
    return AudioPlan(tuple(tracks), tuple(notices), tuple(levels))


def _to_target(track: AudioOutput, target: float, measured: Loudness, meter: Meter) -> tuple[AudioOutput, float]:
    """The track with its gain, and the loudness that it reaches.

    A limiter takes a part of each gain, so a step is as much longer as the last one fell short.
    """
    gain, limit = target - measured.loudness, PEAK - 1.0
    most = PEAK + _MOST_LIMITING - measured.peak
    if measured.peak + gain <= PEAK - _HEADROOM:
        return track.at_level(gain), target
    best, reached, before = track.at_level(gain, limit - _HEADROOM), measured.loudness, _Attempt(0, measured.loudness)
    gain = min(most, gain)
    for _ in range(_REHEARSALS):
        heard = meter.rehearse(track.at_level(gain, limit))
        missing = target - heard.loudness
        if heard.peak > PEAK:
            limit -= heard.peak - PEAK + 0.2
        elif abs(missing) < abs(target - reached):
            best, reached = track.at_level(gain, limit), heard.loudness
        if heard.peak <= PEAK and abs(missing) <= _TOLERANCE:
            break
        slope = (heard.loudness - before.loudness) / (gain - before.gain) if gain != before.gain else 1.0
        before = _Attempt(gain, heard.loudness)
        step = missing / min(1.0, max(0.15, slope))
        gain = min(most, gain + min(_LONGEST_STEP, max(-_LONGEST_STEP, step)))
    return best, reached
