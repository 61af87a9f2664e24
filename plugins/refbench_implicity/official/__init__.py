"""Official ImpliCity files: configurations, chunk data sets and checkpoints, in and out."""
