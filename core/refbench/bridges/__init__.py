"""What a scene lacks, made from what it has."""
