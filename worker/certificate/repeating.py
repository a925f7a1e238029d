"""Whether a run makes the same frames each time: measured of each encoder, with its kinds of rate control. Pure."""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from worker.sandbox.steps import Step

_ONE_THREAD = re.compile(r"(^|:)(threads|pools)=1(:|$)")


def unrepeatable(steps: Iterable[Step]) -> list[str]:
    """Why runs may make other frames another time, in sentences; empty if they make the same.

    With a cap, threads of x264 and x265 see how far the others are by chance, and so do those of SVT-AV1 with a cap or
    a bitrate. Every encoder makes the same frames at a constant quality, and those of the x family on one thread.
    """
    reasons = [reason for step in steps for reason in map(_reason, _outputs(step.arguments))]
    return list(dict.fromkeys(filter(None, reasons)))


def _outputs(arguments: Sequence[str]) -> Iterable[list[str]]:
    """The options of each output, which its file ends."""
    options: list[str] = []
    for word in arguments:
        options.append(word)
        if word.startswith("file:"):
            yield options
            options = []


def _reason(options: Sequence[str]) -> str:
    values = dict(pairwise(options))
    encoder, is_capped = values.get("-c:v", ""), "-maxrate" in values
    is_single = any(_ONE_THREAD.search(values.get(name, "")) for name in ("-x264-params", "-x265-params"))
    if encoder in ("libx264", "libx265") and is_capped and not is_single:
        return f"{encoder.removeprefix('lib')} keeps to a cap with several threads, whose timing decides about bits."
    if encoder == "libsvtav1" and (is_capped or "-b:v" in values):
        return "SVT-AV1 keeps to a rate with several threads, whose timing decides about bits."
    return "A GPU encodes." if encoder.endswith("nvenc") else ""
