"""What every refinement shares while it runs: state files, progress, logs."""
