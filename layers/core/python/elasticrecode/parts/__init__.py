"""Parts of a job: their records, and who encodes which."""
