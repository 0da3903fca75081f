"""Demonstrations: a new language and new speakers, from data to a promoted pack, by the ordinary commands."""
