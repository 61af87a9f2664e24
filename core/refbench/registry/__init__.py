"""Plugins: hook specifications, records, loading, look-up by name."""
