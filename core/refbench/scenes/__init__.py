"""Scenes: files, ``scene.yaml``, bridges from what a scene holds to what a method needs, the procedural city."""
