"""Scores: metrics, strata, edges, uncertainty."""
