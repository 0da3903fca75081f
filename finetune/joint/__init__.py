"""Edges between the three models: what carries a gradient from one into another, and what decides how much."""
