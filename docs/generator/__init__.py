"""Writes ``docs/reference`` from the code. Never does: hold a fact of its own that the code could tell."""
