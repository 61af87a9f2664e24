"""Adversarial training of the generator."""
