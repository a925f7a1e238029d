"""Callers, and what they may do: tokens, tickets, prefixes and allowances."""
