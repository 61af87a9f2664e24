"""One job: its request, process, phases and result."""
