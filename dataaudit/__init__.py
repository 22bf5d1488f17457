"""dataaudit: find mislabeled training rows and rows that leak into the evaluation set."""
