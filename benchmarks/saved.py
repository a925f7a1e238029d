"""Bytes that a target of quality saves beside a fixed ladder with the same worst-case VMAF, by title.

A fixed ladder gives each title the same bitrate, and the title that looks worst decides what viewers may rely on. With
that VMAF as a target each title has just the bits that it needs. Both are read off a curve of five factors, which the
product's own probes measure.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

from benchmarks import clips, onehost
from elasticrecode.media import ladders
from elasticrecode.media.profiles import Ffmpeg, Package, Profile, Target, bits
from local.place import TOOLS
from worker.cuts.objects import LocalFile
from worker.goals import aim_of
from worker.probing import open_prober
from worker.quality.aim import learnt, windows
from worker.quality.curve import Curve, bisected
from worker.sandbox.runner import Runner

_LEFT_OUT = ("bikes grain", "bunny grain", "fade", "slides")
"""Clips of films that nobody films: as the worst title, strong grain would let all others save most of their bits."""
_FACTORS = (20.0, 26.0, 32.0, 38.0, 44.0)


def rows() -> Iterator[tuple[str, str, str, float, float]]:
    """For each clip of an SDR film: the bits of the fixed ladder's largest rung, and what it may save of them."""
    folder = TOOLS.parent / ".local" / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    titles = {
        clip.name: _title(path)
        for clip, path in clips.make(folder)
        if clip.films and not clip.is_hdr and clip.name not in _LEFT_OUT
    }
    fixed = {name: rate * seconds for name, (_, rate, seconds) in titles.items()}
    shown = {name: curve.vmaf(_crf(curve, curve.bits, fixed[name])) for name, (curve, _, _) in titles.items()}
    worst = min(shown.values())
    shares = []
    for name, (curve, rate, seconds) in titles.items():
        needed = curve.bits(_crf(curve, curve.vmaf, worst))
        shares.append(needed / fixed[name])
        yield (
            f"bits for VMAF {worst:.1f}, {name}",
            f"{needed / seconds / 1000:.0f} kbit/s",
            f"fixed {rate / 1000:.0f} kbit/s, VMAF {shown[name]:.1f}",
            shares[-1],
            1.0 + 1e-6,
        )
    mean = statistics.mean(shares)
    yield f"bits for VMAF {worst:.1f}, {len(shares)} titles", f"{mean:.0%}", "of the fixed ladder", mean, 1.0


def _title(path: Path) -> tuple[Curve, float, float]:
    """The curve of a clip, the bitrate of the largest rung that the fixed ladder has for it, and its seconds."""
    encode = Ffmpeg(codec="h264", scale="source", speed="medium", quality=Target(vmaf=93))
    with tempfile.TemporaryDirectory() as folder:
        at = onehost.place(path, Profile(ffmpeg=encode), Path(folder), Runner())
        prober = open_prober(at, LocalFile(path, at.runner))
        video = prober.plans.source.video
        resolved = at.job.profile.ffmpeg
        aim = aim_of(at.job.profile, prober.plans.plan(-1).picture.size, video.upright)
        if not aim or not resolved:
            raise ValueError(path.name)
        probes = [probe for crf in _FACTORS for probe in prober.probe(windows(prober.film), resolved, crf, aim)]
        curve = learnt(resolved, aim, prober.film, probes)
        largest = ladders.rungs(Package(), *video.upright, Fraction(video.rate).limit_denominator(1001), is_hdr=False)[
            0
        ]
        if not largest.bitrate:
            raise ValueError("a rung of a fixed ladder has a bitrate")
        return curve, float(bits(largest.bitrate)), float(prober.length)


def _crf(curve: Curve, figure: Callable[[float], float], wanted: float) -> float:
    """The factor at which a curve has a figure, within the encoder's bounds."""
    return bisected(figure, wanted, curve.least, curve.most)
