"""Training: the loop that trainable methods share, on Lightning. torch and lightning are optional extras."""
