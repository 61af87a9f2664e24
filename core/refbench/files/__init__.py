"""Files as such: atomic writes, YAML, typed configurations, hashes, images."""
