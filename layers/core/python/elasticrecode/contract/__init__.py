"""The agreement of stack and functions: settings, wiring, routes, names of tables and metrics."""
