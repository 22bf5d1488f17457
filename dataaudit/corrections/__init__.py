"""Corrected data in the format of the original: other labels, nothing else changed."""
