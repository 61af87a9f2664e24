"""ImpliCity: occupancy field from a point cloud and ortho images."""
