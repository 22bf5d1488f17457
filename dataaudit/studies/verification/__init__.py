"""The Mirrored Influence Hypothesis, checked by training again: the only ground truth there is."""
