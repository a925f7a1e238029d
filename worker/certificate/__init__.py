"""The certificate of a job: the record by which its outputs can be judged, and made again."""
