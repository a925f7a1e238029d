"""Drops: prefixes of buckets where each new object becomes a job."""
