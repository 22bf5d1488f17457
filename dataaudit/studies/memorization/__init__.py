"""Memorization: how much the prediction of a row depends on its having been trained on."""
