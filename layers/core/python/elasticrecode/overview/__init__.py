"""Counts of jobs: by state, of failures by code, and of the last hour by minute."""
