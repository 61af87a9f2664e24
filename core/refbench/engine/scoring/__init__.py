"""What is said of a job's outputs: scores and assessors."""
