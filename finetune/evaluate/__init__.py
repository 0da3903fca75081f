"""Evaluation of a pack's exported workers, stage by stage and as a cascade: `parley evaluate`."""
