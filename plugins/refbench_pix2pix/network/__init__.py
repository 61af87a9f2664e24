"""Generator and discriminators."""
