"""Media files: what ffprobe finds in them, the encoder's command line, one transcode and its progress."""
