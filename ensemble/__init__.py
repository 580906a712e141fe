"""A peer-to-peer networking stack for Twisted."""

__version__ = "0.1.0"
