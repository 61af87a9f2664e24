"""Two methods by a third party: a learned tile method and one that sees the cloud of a scene."""
