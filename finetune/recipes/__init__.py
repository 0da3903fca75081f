"""Recipes, one readable file each: numbered steps from data to an exported worker."""
