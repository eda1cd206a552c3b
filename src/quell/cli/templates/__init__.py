"""Starting runbooks, as text. ``__ID__`` and ``__SERVICE__`` are filled in. Never does: anything."""
