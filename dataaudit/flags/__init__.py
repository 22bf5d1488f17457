"""Flags: arrays of scores in, tables of flagged rows and pairs out. No model, no torch."""
