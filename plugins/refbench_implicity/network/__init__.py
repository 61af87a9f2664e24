"""The occupancy network: encoders of points and images, decoder."""
