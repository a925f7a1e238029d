"""Codecs, profiles and presets: what a request may contain, and its resolution. No I/O."""
