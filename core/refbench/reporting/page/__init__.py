"""The report: one self-contained page of a sweep or of a single run."""
