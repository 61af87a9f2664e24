"""Training over scenes and optimisation on one scene."""
