"""Tools that move a deployment of the first generation."""
