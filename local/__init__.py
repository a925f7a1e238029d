"""The embedded mode: the same stack on one machine, behind `make up` and `make run`."""
