"""The words of a runbook: conditions, templates, the Plan, its dialects, lint and compile. Pure: no I/O, no clock."""
