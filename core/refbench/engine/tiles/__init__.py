"""Tiles of a scene: cut, refined, blended, written as a stream."""
