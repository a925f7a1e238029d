"""The reference worker: takes jobs from a queue, runs the encoder, reports on the control queue."""
