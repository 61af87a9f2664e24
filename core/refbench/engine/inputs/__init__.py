"""What a job runs with: configuration, weights, bridges."""
