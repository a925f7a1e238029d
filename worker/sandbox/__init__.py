"""How programs run on users' files: resource limits, isolation by the kernel, starting, watching and stopping them."""
