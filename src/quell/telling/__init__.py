"""What happened, in words for every face: rows of an incident's events, its execution, what was pruned. Pure."""
