"""Engines: where the forward passes over the training rows run."""
