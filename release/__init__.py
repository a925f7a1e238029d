"""Versions of the product, and releases: one version for stack, client and worker image, typed in one place."""
