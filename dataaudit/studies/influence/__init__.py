"""Mirrored influence of any query groups on any rows, streamed to disk."""
