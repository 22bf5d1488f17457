"""The loop after an audit: exports, decisions, relabeling, comparison."""
