"""Cuts: small standalone files with the coded pictures of a span of a film, made by ranged reads."""
