"""Pairs of posed views, nadir views, fusion to a DSM."""
