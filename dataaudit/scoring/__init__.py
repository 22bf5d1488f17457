"""Rows under perturbed models: forward passes, in blocks, on this machine or on Ray."""
