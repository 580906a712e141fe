"""Figures beside references: ``python -m bench wire|daemon|rtt|fanout|idle``.  Run it from a checkout."""
