"""What a person reads: tables, images, the HTML report."""
