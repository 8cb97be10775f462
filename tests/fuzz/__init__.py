"""Fuzzing with coverage guidance: `python -m fuzz <target> --seconds 60` (docs/development.md)."""
