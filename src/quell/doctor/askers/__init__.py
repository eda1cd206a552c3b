"""Whoever asks: each module gathers facts of one kind, within a time. Never does: judge them."""
