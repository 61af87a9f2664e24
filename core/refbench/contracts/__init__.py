"""Contracts: data only, what a thing is.

Conventions, stated here once and converted at the file boundary:

* An integer image coordinate is a pixel *centre*; a raster transform maps pixel *corners*.
* Heights are metres, up. Rows run down. A camera looks along +z; depth is z, not ray length.
* float32 outside reductions, float64 inside them; world coordinates are float64 or relative to ``Scene.origin``.
* NoData is NaN (heights), False (``Image.valid``) or 255 (masks).

Axis letters: N points, n tiles, ``rows``, ``cols``, ``bands``.
"""
