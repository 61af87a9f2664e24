"""Official files of ImMPI: checkpoints in and out, text configurations, data sets."""
