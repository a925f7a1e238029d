"""Workers and their queues: discovery, routing, the registry."""
