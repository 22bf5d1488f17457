"""Rows drawn at random for review, and what their decisions say of all rows."""
