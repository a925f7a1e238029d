"""Streaming packages: CMAF tracks by Shaka Packager, and the playlists and the MPD that describe them."""
