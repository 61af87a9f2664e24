"""Running methods: tiles, cells, results."""
