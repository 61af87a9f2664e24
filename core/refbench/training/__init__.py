"""The training loop that trainable methods share (on Lightning)."""
