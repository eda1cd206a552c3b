"""Proves a configuration before the first incident: facts are gathered side by side, and judged by pure functions.

Never does: change anything; only ``notify`` sends a message, and that one says that it is a test.
"""
