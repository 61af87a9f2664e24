"""Tables of a sweep: what they show, and one file per format."""
