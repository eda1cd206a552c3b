"""From bytes to a decision about them: accept, correlate, route. The last two are pure."""
