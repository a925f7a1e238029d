"""Media files: probing them, ffmpeg's command lines, transcodes and their progress."""
