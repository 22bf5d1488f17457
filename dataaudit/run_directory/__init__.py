"""All that a command keeps on disk."""
