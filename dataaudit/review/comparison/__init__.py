"""Two audits of the same data, before and after: what was fixed, what is new, what remains."""
