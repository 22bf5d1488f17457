"""Other questions to the same model: influence, memorization, tracing, verification."""
