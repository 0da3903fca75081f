"""Conversations that are kept, where an operator wants it; off by default."""
