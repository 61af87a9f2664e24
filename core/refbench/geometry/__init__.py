"""Bridges: thing to thing, in numpy, with differentiable twins in torch."""
