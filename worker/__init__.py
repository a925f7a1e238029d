"""The reference worker: takes jobs from a queue, encodes and scores, and reports on the control queue.

The top level holds a job's life, `media` the transcode, `quality` the score, `sandbox` the programs that run.
"""
