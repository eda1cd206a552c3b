"""The command line: a face that asks, draws and exits with a code. Never does: hold a rule of the product."""
