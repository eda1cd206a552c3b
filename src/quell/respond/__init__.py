"""From a routed incident to its end: diagnose, decide, act, verify, escalate. Stages do not know one another."""
