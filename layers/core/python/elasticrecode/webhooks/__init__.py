"""Webhooks: who wants which events where, and the courier that delivers them."""
