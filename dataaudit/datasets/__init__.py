"""Data sets of any kind as `Samples`: stable ids, labels as class indices, read in batches."""
