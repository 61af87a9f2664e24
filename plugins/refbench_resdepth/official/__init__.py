"""Official ResDepth files: configurations, run folders and output trees, in and out."""
