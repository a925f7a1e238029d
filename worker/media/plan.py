"""Command lines of ffmpeg and ffprobe. Pure: nothing here starts a process."""

from elasticrecode.media.codecs import encoder_of
from elasticrecode.media.profiles import Ffmpeg
from worker.sandbox.limits import JobLimits

DEMUXERS = ("mov", "mp4", "matroska", "webm", "mpegts", "mpeg", "avi", "flv", "ogg", "asf", "mxf")
"""Accepted containers, as ffprobe names demuxers. None of them is a playlist, so none refers to another file or URL."""


def input_options(limits: JobLimits) -> tuple[str, ...]:
    """Options for ffmpeg and ffprobe before an input: whatever is in the file, they open no other file or URL.

    The decoder gets the limit on pixels too, because a stream can change its picture size after the first frame.
    """
    return (
        *("-protocol_whitelist", "file", "-format_whitelist", ",".join(DEMUXERS)),
        *("-max_pixels", str(limits.pixels), "-max_streams", str(limits.streams + 1)),
    )


def encode_arguments(
    profile: Ffmpeg,
    demuxer: str,
    stream: int,
    muxer: str,
    source: str,
    target: str,
    limits: JobLimits = JobLimits(),  # noqa: B008
) -> list[str]:
    """Arguments of ffmpeg for one transcode, without the program's name.

    `demuxer` and `stream`, the index of the video stream, come from probing the source; `muxer` is ffmpeg's name of the
    output container; `source` and `target` are local paths.
    """
    codec, encoder = encoder_of(profile.codec)
    gpu = profile.platform == "gpu"
    decoder = ["-c:v", profile.originCodec] if gpu and profile.originCodec else []
    return [
        *("-hide_banner", "-nostdin", "-y", "-loglevel", "warning", "-nostats", "-progress", "pipe:1"),
        *(("-hwaccel", "cuda") if gpu else ()),
        *decoder,
        *input_options(limits),
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
