"""Options of the video encoders: rate, quality, keyframes, and the signal they tell. Pure."""

from elasticrecode.media.codecs import encoder_of
from elasticrecode.media.profiles import Ffmpeg
from worker.media.colour import Signal


def encoder_options(encode: Ffmpeg, signal: Signal, rate: float, muxer: str) -> list[str]:
    """Options of ffmpeg for the video encoder. `rate` is the mean of frames per second, 0 where unknown."""
    codec, encoder = encoder_of(encode.codec)
    bitrate = encode.bitrate or "5M"
    return [
        *("-c:v", encoder.name, *encoder.options[encode.profile]),
        *("-b:v", bitrate, "-maxrate", bitrate, "-bufsize", encode.buffersize or bitrate),
        *("-color_primaries", signal.primaries, "-color_trc", signal.transfer),
        *("-colorspace", signal.matrix, "-color_range", signal.range),
        *(("-tag:v", codec.tags[muxer]) if muxer in codec.tags else ()),
    ]
