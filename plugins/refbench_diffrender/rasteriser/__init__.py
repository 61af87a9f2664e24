"""A differentiable rasteriser with one definition and three backends."""
