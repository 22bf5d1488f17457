"""What leaves an audit for other tools: rows for review, and a Croissant file."""
