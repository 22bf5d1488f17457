"""Places on object stores, copied here: data, weights, and the directories of audits."""
