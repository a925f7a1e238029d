"""The stack: one construct a file, brought together in `control_plane`."""
