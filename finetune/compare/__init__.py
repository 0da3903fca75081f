"""`parley compare-adaptation`: ways to adapt a pack, equally long each, measured on the workers they leave."""
