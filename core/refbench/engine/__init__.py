"""Running methods: tiles, jobs, results."""
