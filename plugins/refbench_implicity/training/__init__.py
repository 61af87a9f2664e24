"""Training of the occupancy network."""
