"""Networks' weights on disk: safe reading of foreign checkpoints, state dicts, weights folders."""
