"""The core of ElasticRecode: what a job is, what may become of it, and where that is kept."""

__version__ = "1.0.0"
