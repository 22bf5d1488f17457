"""What reviewers decided: read, checked against the audit, logged."""
