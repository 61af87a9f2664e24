"""Scenes written in the layouts of other pipelines, one file each: what their next steps take."""
