"""Files of the field: rasters, clouds, cameras, reference systems, units."""
