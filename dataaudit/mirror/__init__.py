"""Mirrors: the ways a group of queries perturbs the model."""
