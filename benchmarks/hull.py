"""The automatic ladder beside that of all sizes at all CRFs, and beside the fixed one, on clips of different kinds.

The product's search probes a few sizes at a few CRFs. The exhaustive one probes each size at 11 of them, on the same
windows and by the same code, and its curves are the truth here. The loss is the BD-rate of the sizes that the product
chose: how much more rate they need, at equal VMAF over all of its ladder, than the best size of the exhaustive hull.
The bytes saved are those of a ladder on the product's hull with the VMAF of each rung of the fixed one, the worst
included. A search is measured in CPU seconds of its probes.
"""

import math
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from msgspec import structs

from benchmarks import onehost
from benchmarks.onehost import FFMPEG
from elasticrecode.media import ladders
from elasticrecode.media.profiles import RUNGS_LIMIT, Auto, Ffmpeg, Package, Profile, Target, bits
from local.place import TOOLS
from worker.cuts.objects import LocalFile
from worker.laddering import Candidate, Search, aim_of_ladder, bounds_of, candidates
from worker.probing import open_prober
from worker.quality import hull
from worker.quality.curve import Scale, bisected, curved, loss_of, vmaf_of
from worker.quality.hull import Point
from worker.sandbox.runner import Runner

_BUNNY = str(TOOLS / "media" / "bigbuckbunny.mp4")
_SIZE = "960:540"
_SECONDS = 4
CLIPS: Mapping[str, tuple[str, ...]] = {
    "cartoon": ("-i", _BUNNY, "-vf", f"scale={_SIZE}"),
    "cartoon, grain": ("-i", _BUNNY, "-vf", f"scale={_SIZE},noise=alls=12:allf=t:all_seed=1"),
    "cartoon, dark": ("-i", _BUNNY, "-vf", f"scale={_SIZE},eq=gamma=0.4:brightness=-0.1"),
    "flat colours": ("-f", "lavfi", "-i", "testsrc2=size=960x540:rate=25"),
}
"""Kind → where ffmpeg has its pictures from."""
_CRFS = 11
_STEP = 3.0
_FIRST = 15.0
_MOST_LOSS = 0.01
_MOST_SHARE = 0.2
_STEPS = 200


def rows() -> Iterator[tuple[str, str, str, float, float]]:
    """The loss and the cost of each clip and of all, and the bytes that a ladder saves beside the fixed one."""
    losses, shares, saved = [], [], []
    with tempfile.TemporaryDirectory() as name:
        for kind, source in CLIPS.items():
            folder = Path(name) / kind.replace(", ", "-")
            folder.mkdir()
            clip = folder / "clip.mp4"
            options = ("-t", str(_SECONDS), "-an", "-c:v", "libx264", "-preset", "veryfast", "-crf", "8", "-g", "50")
            subprocess.run([FFMPEG, "-v", "error", *source, *options, "-pix_fmt", "yuv420p", str(clip)], check=True)
            loss, share, rate = _compared(clip, folder)
            losses.append(loss)
            shares.append(share)
            saved.append(rate)
            yield f"{kind}: BD-rate beside the exhaustive hull", f"{loss:.2%}", "", loss, math.inf
            yield f"{kind}: CPU beside it", f"{share:.1%}", "", share, math.inf
            yield f"{kind}: bytes beside the fixed ladder", f"{rate:.1%}", "", rate, math.inf
    mean = statistics.mean(losses)
    yield "BD-rate beside the exhaustive hull, mean", f"{mean:.2%}", f"worst {max(losses):.2%}", mean, _MOST_LOSS
    share = statistics.mean(shares)
    yield "CPU beside the exhaustive hull, mean", f"{share:.1%}", f"most {max(shares):.1%}", share, _MOST_SHARE
    rate = statistics.mean(saved)
    yield "bytes beside the fixed ladder, mean", f"{rate:.1%}", f"most {max(saved):.1%}", rate, 1.0


def _compared(clip: Path, folder: Path) -> tuple[float, float, float]:
    """The loss and the cost of the search beside the exhaustive one, and the bytes beside the fixed ladder."""
    encode = Ffmpeg(codec="libx264", scale="source", quality=Target(crf=23), keyframeSeconds=ladders.KEYFRAME_SECONDS)
    runner, package = Runner(), Package(ladder="auto", speed="medium")
    at = onehost.place(clip, Profile(ffmpeg=encode), folder, runner)
    prober = open_prober(at, LocalFile(clip, runner))
    source = prober.plans.source
    sizes = candidates(package, source)
    aim = aim_of_ladder(Profile(package=package), sizes[0], source)
    bounds = bounds_of(Auto(), source)
    mine, whole = (Search(prober, sizes, aim) for _ in range(2))
    mine.run(bounds)
    for box in range(len(sizes)):
        for number in range(_CRFS):
            whole.probe(box, _FIRST + number * _STEP)
    truth = _Truth(whole.points, whole.scale)
    best = hull.hull(mine.scale, mine.points)
    rungs = hull.rungs(best, bounds, RUNGS_LIMIT)
    chosen = sorted((truth.vmaf(point.box, point.bitrate), math.log(point.bitrate)) for point in best)
    ideal = [(point.vmaf, math.log(point.bitrate)) for point in hull.hull(whole.scale, whole.points)]
    loss = _bd_rate(ideal, chosen, rungs[-1].vmaf, rungs[0].vmaf)
    return (
        loss,
        mine.cpu_seconds / whole.cpu_seconds,
        _beside_fixed(package, sizes, truth, chosen, source.video.upright),
    )


class _Truth:
    """VMAF of each size at any rate, by the curves through all points of an exhaustive search."""

    def __init__(self, points: Sequence[Point], scale: Scale) -> None:
        self._boxes: dict[int, list[Point]] = {}
        for point in sorted(points, key=lambda one: one.crf):
            self._boxes.setdefault(point.box, []).append(point)
        self._scale = scale

    def vmaf(self, box: int, bitrate: float) -> float:
        points = self._boxes[box]
        rates = [(point.crf, math.log(point.bitrate)) for point in points]
        losses = [(point.crf, loss_of(point.vmaf)) for point in points]
        slope = -math.log(2) / self._scale.halving
        crf = bisected(lambda at: curved(rates, at, slope), math.log(bitrate), 0.0, 63.0)
        return vmaf_of(curved(losses, crf, self._scale.slope))


def _bd_rate(
    ideal: Sequence[tuple[float, float]], chosen: Sequence[tuple[float, float]], low: float, high: float
) -> float:
    """How much more rate a curve of VMAF and log rate needs than the ideal one, on average between two VMAFs."""
    low, high = max(low, ideal[0][0], chosen[0][0]), min(high, ideal[-1][0], chosen[-1][0])
    places = [low + (high - low) * (number + 0.5) / _STEPS for number in range(_STEPS)]
    return math.exp(statistics.mean(_log_rate(chosen, at) - _log_rate(ideal, at) for at in places)) - 1


def _log_rate(corners: Sequence[tuple[float, float]], vmaf: float) -> float:
    for (low, start), (high, end) in pairwise(corners):
        if low <= vmaf <= high:
            return start + (end - start) * (vmaf - low) / max(1e-9, high - low)
    raise ValueError(vmaf)


def _beside_fixed(
    package: Package,
    sizes: Sequence[Candidate],
    truth: _Truth,
    chosen: Sequence[tuple[float, float]],
    source: tuple[int, int],
) -> float:
    """The bytes of a ladder with the VMAF of each fixed rung that the hull reaches, by those of these rungs."""
    boxes = {candidate.size: box for box, candidate in enumerate(sizes)}
    fixed = own = 0.0
    for encode in ladders.rungs(structs.replace(package, ladder="h264"), *source, Fraction(25), is_hdr=False):
        width, height = map(int, encode.scale.split(":"))
        average = float(bits(encode.bitrate)) if encode.bitrate else 0.0
        vmaf = truth.vmaf(boxes[width, height], average)
        if chosen[0][0] <= vmaf <= chosen[-1][0]:
            fixed += average
            own += math.exp(_log_rate(chosen, vmaf))
    return own / fixed
