"""Official files of the refinement: JSON configurations, the view folders that they name, outputs."""
