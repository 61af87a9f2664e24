"""Loss terms and image metrics."""
