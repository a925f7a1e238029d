"""What ffmpeg's options and their words mean here. Tables alone."""

from collections.abc import Mapping

FLAGS = frozenset(
    """
    -an -vn -sn -dn -y -n -nostdin -hide_banner -stats -nostats -shortest -copyts -re -accurate_seek -report
    -autorotate -noautorotate
    """.split()  # noqa: SIM905
)
"""Options without a value."""
BENEATH = frozenset(
    """
    -y -n -nostdin -hide_banner -stats -nostats -sn -dn -loglevel -v -progress -report -threads -max_muxing_queue_size
    -tag:v -strict -sc_threshold -keyint_min -hwaccel_output_format -accurate_seek -autorotate -avoid_negative_ts
    -filter_threads -thread_queue_size -probesize -analyzeduration -max_interleave_delta -stats_period
    """.split()  # noqa: SIM905
)
"""Options that change nothing here, because they are about the console or workers do so anyway."""
ALWAYS = frozenset({("-movflags", "faststart")})
"""Options with a value that change nothing here."""
ALIASES: Mapping[str, str] = {
    "-vcodec": "-c:v",
    "-codec:v": "-c:v",
    "-acodec": "-c:a",
    "-codec:a": "-c:a",
    "-scodec": "-c:s",
    "-codec:s": "-c:s",
    "-codec": "-c",
    "-filter:v": "-vf",
    "-filter:a": "-af",
    "-b": "-b:v",
    "-vb": "-b:v",
    "-ab": "-b:a",
    "-ac:a": "-ac",
    "-ar:a": "-ar",
    "-vprofile": "-profile:v",
    "-vtag": "-tag:v",
    "-tag": "-tag:v",
    "-aframes": "-frames:a",
    "-vframes": "-frames",
    "-frames:v": "-frames",
    "-qscale": "-q",
    "-aq": "-q:a",
    "-qscale:a": "-q:a",
    "-level:v": "-level",
    "-vsync": "-fps_mode",
    "-lavfi": "-filter_complex",
    "-svt-av1-params": "-svtav1-params",
}
"""Other names of an option → the one in the tables."""
CODECS: Mapping[str, tuple[str, bool, str]] = {
    "libx264": ("h264", False, ""),
    "h264": ("h264", False, ""),
    "libx265": ("h265", False, ""),
    "hevc": ("h265", False, ""),
    "h265": ("h265", False, ""),
    "libsvtav1": ("av1", False, ""),
    "av1": ("av1", False, ""),
    "libaom-av1": ("av1", False, "-c:v libaom-av1 becomes libsvtav1, the encoder of AV1 that workers have."),
    "librav1e": ("av1", False, "-c:v librav1e becomes libsvtav1, the encoder of AV1 that workers have."),
    "h264_nvenc": ("h264", True, ""),
    "hevc_nvenc": ("h265", True, ""),
    "nvenc_hevc": ("h265", True, ""),
}
"""ffmpeg's encoder → codec, whether it runs on a GPU, and a note."""
AUDIO_CODECS: Mapping[str, str] = {
    "aac": "aac",
    "libfdk_aac": "aac",
    "aac_at": "aac",
    "libopus": "opus",
    "opus": "opus",
    "copy": "copy",
    "none": "none",
}
CRFS: Mapping[str, int] = {"h264": 23, "h265": 28, "av1": 35}
"""The quality that an encoder has in ffmpeg where none is given."""
_FAST, _MEDIUM, _SLOW = ("veryfast", "9", "p1"), ("medium", "6", "p5"), ("slow", "4", "p7")
PRESETS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    **dict.fromkeys(("ultrafast", "superfast", "veryfast", "p1", "p2", "p3"), ("fast", _FAST)),
    **{str(level): ("fast", _FAST) for level in range(8, 14)},
    **dict.fromkeys(("faster", "fast", "medium", "p4", "p5", "6", "7", "5"), ("medium", _MEDIUM)),
    **dict.fromkeys(("slow", "slower", "veryslow", "placebo", "p6", "p7"), ("slow", _SLOW)),
    **{str(level): ("slow", _SLOW) for level in range(5)},
}
"""An encoder's preset → the speed of a profile, and the presets of the encoders at that speed."""
TUNINGS: Mapping[str, str] = {"zerolatency": "latency", "ll": "latency", "ull": "latency", "hq": ""}
_ENCODERS_OWN = ("is an encoder's own choice, which the speed makes", "-preset slow")
_TAGS = ("outputs keep the metadata of their source", "leave it out")
_COLOURS = ("follows from the source", "--dynamic-range sdr or keep")
NOT_HERE: Mapping[str, tuple[str, str]] = {
    "-q": ("is a scale of each encoder's own", "-crf 23, or --vmaf 93"),
    "-qp": ("is a constant quantiser", "-crf 23, or --vmaf 93"),
    "-q:a": ("sound has a bitrate", "-b:a 128k"),
    "-level": (
        "follows from the size, the frame rate and the rates",
        "-maxrate and -bufsize bound what a player needs",
    ),
    "-pass": ("workers encode in one pass", "-b:v alone, or --vmaf 93, for which they look for the setting"),
    "-passlogfile": ("workers encode in one pass", "--vmaf 93"),
    "-filter_complex": ("a graph has more than one chain", "-vf scale=-2:720"),
    "-f": ("the output has the container of its input's name", "--output, or `elasticrecode package` for HLS and DASH"),
    "-movflags": ("the index is always in front", "leave it out"),
    "-aspect": ("the shape of the picture is that of the source", "--fit pad, crop or exact with a size"),
    "-frames": ("parts are in seconds", "-t, or -to"),
    "-frames:a": ("parts are in seconds", "-t, or -to"),
    "-sseof": ("parts are counted from the beginning", "-ss and -to"),
    "-fs": ("outputs have no limit of bytes", "-b:v with -t"),
    "-fps_mode": ("frames keep their times, unless there is a rate", "-r 30 for a constant rate"),
    "-fpsmax": ("frames keep their times, unless there is a rate", "-r 30"),
    "-metadata": _TAGS,
    "-metadata:s:a": _TAGS,
    "-map_metadata": _TAGS,
    "-map_chapters": ("outputs keep the chapters of their source", "leave it out"),
    "-disposition": ("outputs keep the mark of the default track", "leave it out"),
    "-stream_loop": ("an input is read once", ""),
    "-loop": ("an input is a film, not a picture", ""),
    "-itsoffset": ("tracks keep their times", "leave it out"),
    "-hls_time": ("packages are jobs of their own", "`elasticrecode package --segment-seconds 6`"),
    "-hls_playlist_type": ("packages are jobs of their own", "`elasticrecode package`"),
    "-hls_segment_filename": ("packages are jobs of their own", "`elasticrecode package`"),
    "-color_primaries": _COLOURS,
    "-color_trc": _COLOURS,
    "-colorspace": _COLOURS,
    "-color_range": _COLOURS,
    "-svtav1-params": ("are the encoder's own", "-crf and -preset"),
    "-ch_layout": ("outputs have mono, stereo or 5.1", "-ac 2"),
    "-channel_layout": ("outputs have mono, stereo or 5.1", "-ac 2"),
    "-vol": ("sound has a loudness", "-af loudnorm=I=-16"),
    "-shortest": ("outputs have all of the source", "-t"),
    "-copyts": ("outputs begin at 0", "leave it out"),
    "-re": ("workers read as fast as they encode", "leave it out"),
    "-noautorotate": ("pictures are shown as players show them", "leave it out"),
    "-rc": ("follows from -b:v or -cq", "-cq 23 with -maxrate"),
    "-rc-lookahead": _ENCODERS_OWN,
    **dict.fromkeys(
        ("-bf", "-refs", "-qmin", "-qmax", "-trellis", "-subq", "-me_method", "-aq-mode", "-b_strategy"), _ENCODERS_OWN
    ),
    **dict.fromkeys(
        ("-spatial-aq", "-temporal-aq", "-qcomp", "-i_qfactor", "-me_range", "-coder", "-flags"), _ENCODERS_OWN
    ),
}
"""Options that a profile cannot say: why, and the nearest thing that works."""
