"""Official files of the enhancer: options, checkpoints, tiles, in and out."""
