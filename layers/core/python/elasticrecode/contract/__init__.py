"""What the stack and the functions agree on: settings, routes, names of tables and metrics."""
