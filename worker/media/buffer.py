"""The rate of an output beside the buffer that bounds its peaks. Pure."""

from msgspec import Struct

from elasticrecode.media.profiles import Ffmpeg
from worker.media.encoders import cap
from worker.media.packets import TrackMeter


class Rate(Struct, frozen=True, omit_defaults=True):
    """The rate of a video, in bits per second: its mean, its most in one second, and its cap with the buffer in bits.

    `overflow` is the number of bits by which it exceeds the cap at worst. Without a cap, the last three are None.
    """

    name: str
    mean: int
    peak: int
    cap: int | None = None
    buffer: int | None = None
    overflow: int | None = None

    @property
    def is_kept(self) -> bool | None:
        """Whether the video keeps to its cap; None without one."""
        return None if self.overflow is None else self.overflow == 0


def rate_of(name: str, encode: Ffmpeg, film: TrackMeter) -> Rate:
    """The rate of a video that was read back."""
    mean = round(8 * film.bytes / film.seconds) if film.seconds else 0
    bounds = cap(encode)
    return (
        Rate(name, mean, film.peak_bits, *bounds, film.overflow(*bounds))
        if bounds
        else Rate(name, mean, film.peak_bits)
    )
