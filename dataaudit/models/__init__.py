"""Trained models: loaded safely, and run on batches of rows."""
