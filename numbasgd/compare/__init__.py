"""Files of results against each other: reading them, estimates with their errors, verdicts."""
