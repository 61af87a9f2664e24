"""From satellite images to a scene: pairs, relative RPC bias, matching, fusion, filling, orthos."""
