"""The encoder's argument vector. Pure: nothing here starts a process."""

from elasticrecode.media.codecs import encoder_of
from elasticrecode.media.profiles import Ffmpeg
from worker.sandbox.limits import Limits

DEMUXERS = ("mov", "mp4", "matroska", "webm", "mpegts", "mpeg", "avi", "flv", "ogg", "asf", "mxf")
"""Containers that are read. None of them is a playlist, so none leads to another file or address."""


def reading(limits: Limits) -> tuple[str, ...]:
    """What ffmpeg and ffprobe are told before every input: of whatever is in it they open no other file or address.

    Pictures may change their size on the way, so that the limit of pixels is the decoder's, too.
    """
    return (
        *("-protocol_whitelist", "file", "-format_whitelist", ",".join(DEMUXERS)),
        *("-max_pixels", str(limits.pixels), "-max_streams", str(limits.streams + 1)),
    )


def arguments(
    profile: Ffmpeg,
    demuxer: str,
    stream: int,
    muxer: str,
    source: str,
    target: str,
    limits: Limits = Limits(),  # noqa: B008
) -> list[str]:
    """Ffmpeg's arguments, its own name not included. `stream` is the index of the video stream to encode."""
    codec, encoder = encoder_of(profile.codec)
    gpu = profile.platform == "gpu"
    decoder = ["-c:v", profile.originCodec] if gpu and profile.originCodec else []
    return [
        *("-hide_banner", "-nostdin", "-y", "-loglevel", "warning", "-nostats", "-progress", "pipe:1"),
        *(("-hwaccel", "cuda") if gpu else ()),
        *decoder,
        *reading(limits),
        *("-f", demuxer, "-i", f"file:{source}"),
        *("-map", f"0:{stream}", "-map", "0:a:0?", "-sn", "-dn", "-map_chapters", "-1"),
        *("-vf", f"scale={profile.scale}", "-pix_fmt", "yuv420p"),
        *("-c:v", encoder.name, *encoder.options[profile.profile]),
        *("-b:v", profile.bitrate, "-maxrate", profile.bitrate, "-bufsize", profile.buffersize or profile.bitrate),
        *(("-tag:v", codec.tags[muxer]) if muxer in codec.tags else ()),
        *("-c:a", "aac", "-b:a", "128k"),
        *(("-movflags", "+faststart") if muxer in ("mp4", "mov") else ()),
        *("-f", muxer, f"file:{target}"),
    ]
