"""Plays a film that is divided into chunks while its package is made: one rung, and a sound beside it.

All names follow from the division of the film, so a worker that adopts the job goes on where the other one stopped.
"""
