"""The bytes and the time of a whole job, by what windows of it took."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec import structs

from elasticrecode.media.profiles import UNITS, Ffmpeg, Profile, bits
from worker.media import rates
from worker.media.audio import AudioPlan
from worker.media.rates import Span
from worker.media.source import AudioTrack
from worker.quality.aim import Probe, pooled
from worker.quality.curve import Curve, bisected, loss_of, scale_of, vmaf_of
from worker.sandbox.machine import cores
from worker.sandbox.runner import Runner
from worker.settings import Settings

_CALIBRATION_SECONDS = 10.0
_COPIED_BITS = 128_000
"""The rate of a copied track whose source does not tell it."""
_HEAD_BYTES = 3_000
_FRAME_BYTES = (12.0, 16.0)
"""Bytes beside each frame: in the tables of a file, and in the segments of a rendition."""
_PACKET_BYTES = 6.0
_PACKETS = 47.0
"""Packets of sound in a second."""
_SEGMENT_BYTES = 40.0
"""Bytes beside each second of a rendition, for the boxes of its segments."""
_SOUND_SECONDS = 0.01
"""CPU seconds to encode a second of a track of sound."""
_BYTES_PER_SECOND = 100e6
"""How fast an input is read, and an output stored."""
_LEAST_SHARE = 0.1
"""The least share of the cores that a program gets, beside others on the machine."""
_FIXED_SECONDS = 1.5
"""What a job takes besides: claim, inspection, publication."""


class Spent(NamedTuple):
    """CPU seconds, and seconds on the clock."""

    cpu: float
    wall: float


class Costs:
    """What encodes and scores of windows took on this worker."""

    def __init__(self, settings: Settings, runner: Runner, folder: Path) -> None:
        """Measures what one run of ffmpeg takes without any work."""
        before, started = runner.cpu_seconds, time.monotonic()
        empty = ["-v", "error", "-f", "lavfi", "-i", "color=size=64x64:rate=25:duration=0.04", "-f", "null", "-"]
        log = folder / "empty.log"
        runner.run([settings.ffmpeg, "-nostdin", *empty], folder, log, seconds=_CALIBRATION_SECONDS)
        log.unlink(missing_ok=True)
        self.start_cpu, self.start_wall = runner.cpu_seconds - before, time.monotonic() - started
        self.seconds = self.encode = self.wall = self.score = self.score_wall = 0.0

    def add(self, seconds: float, encode: Spent, score: Spent) -> None:
        """Count a window of so many seconds of the film. The encode's seconds on the clock are with reading it back."""
        self.seconds += seconds
        self.encode += max(encode.cpu - self.start_cpu, 0.1 * encode.cpu)
        self.wall += max(encode.wall - 2 * self.start_wall, 0.1 * encode.wall)
        self.score += score.cpu
        self.score_wall += score.wall


def _wall(cpu: float, measured: Spent) -> float:
    """The seconds on the clock for so many CPU seconds, at the share of the cores that a measured run got."""
    got = measured.cpu / measured.wall if measured.wall else float(cores())
    return cpu / min(max(got, _LEAST_SHARE * cores()), float(cores()))


def whole_seconds(profile: Profile, costs: Costs, length: float, input_bytes: int, output_bytes: int) -> float:
    """The seconds that this worker would need for the whole job."""
    factor = length / costs.seconds if costs.seconds else 0.0
    encode = _wall((costs.encode + costs.start_cpu) * factor, Spent(costs.encode, costs.wall))
    score = _wall(costs.score * factor, Spent(costs.score, costs.score_wall)) if profile.vmaf else 0.0
    sound = 0.0 if profile.audio and profile.audio.codec in ("none", "copy") else length * _SOUND_SECONDS / cores()
    return encode + score + sound + (input_bytes + output_bytes) / _BYTES_PER_SECOND + _FIXED_SECONDS


def capped(encode: Ffmpeg, seconds: float, size: float, vmaf: float) -> tuple[float, float]:
    """The bits and the VMAF of a window of a constant quality whose rate has a cap."""
    most = bits(encode.maxBitrate) * seconds if encode.quality and encode.maxBitrate else math.inf
    if size <= most:
        return size, vmaf
    scale = scale_of(encode)
    return most, vmaf_of(loss_of(vmaf) + scale.slope * scale.halving * math.log2(size / most))


def held(encode: Ffmpeg, curve: Curve, film: Sequence[Span], probes: Sequence[Probe], wanted: float) -> list[Probe]:
    """The windows as an encode of `wanted` bits for the film has them, whose rate has a cap.

    All have one factor, but those that would pass the cap a higher one. Each goes along the slopes of the curve from
    its nearest probe.
    """
    peak, scale = rates.limits(encode)[0], scale_of(encode)
    slope, steepness = curve.slope, math.log(2) / scale.halving
    around = bisected(curve.bits, wanted, curve.least, curve.most)
    nearest: dict[int, Probe] = {}
    for probe in sorted(probes, key=lambda each: -abs(each.crf - around)):
        nearest[probe.span] = probe

    def at(probe: Probe, factor: float) -> Probe:
        size = probe.bits * math.exp(steepness * (probe.crf - factor))
        most = peak * film[probe.span].seconds if peak else math.inf
        own = factor + math.log(max(size / most, 1.0)) / steepness
        vmaf = vmaf_of(loss_of(probe.vmaf) + slope * (own - probe.crf))
        return structs.replace(probe, crf=factor, bits=min(size, most), vmaf=vmaf)

    def total(factor: float) -> float:
        return pooled(film, [at(probe, factor) for probe in nearest.values()])[1]

    factor = bisected(total, 0.98 * wanted, curve.least, curve.most)
    return [at(probe, factor) for probe in nearest.values()]


def sound_bits(plan: AudioPlan, tracks: Sequence[AudioTrack], length: float) -> float:
    """The bits of all sound of a file."""
    known = {track.stream: track.bitrate for track in tracks}
    total = 0.0
    for track in plan.tracks:
        given = dict(zip(track.options[::2], track.options[1::2], strict=True)).get("b", "")
        total += length * (_rate(given) or known.get(track.streams[0], 0) or _COPIED_BITS)
    return total


def _rate(text: str) -> float:
    unit = UNITS.get(text[-1:].upper(), 0)
    return float(text[:-1]) * unit if unit else float(text or 0)


def bytes_of(pictures: float, sound: float, length: float, rate: float, *, is_segmented: bool) -> int:
    """The bytes of a file with so many bits of pictures and sound, with what its container adds."""
    overhead = _HEAD_BYTES + length * rate * _FRAME_BYTES[is_segmented]
    overhead += length * (_SEGMENT_BYTES if is_segmented else _PACKETS * _PACKET_BYTES if sound else 0.0)
    return round((pictures + sound) / 8 + overhead)
