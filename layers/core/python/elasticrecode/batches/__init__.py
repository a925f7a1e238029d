"""Batches: requests, surveys of inputs, counting, progress."""
