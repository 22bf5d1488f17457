"""The report: typed data first (`audit.json`), then charts and HTML made from it."""
