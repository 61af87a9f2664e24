"""Depth maps of posed views, refined one by one or jointly by rendering them into the others."""
