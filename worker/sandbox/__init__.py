"""Programs that read users' files: limits on resources, isolation by the kernel, and how they run and stop."""
