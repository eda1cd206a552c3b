"""Quell turns a page into a handled incident."""

__version__ = "0.1.0"
