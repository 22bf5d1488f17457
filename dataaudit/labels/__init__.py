"""What a label is: read, show, type in, correct and count it, for each kind of label."""
