"""What a refinement leaves: fused DSM, confidence, point clouds, meshes, held-out scores."""
