"""What works at a URL, and on this machine: reports, checks, and the rights that they need."""
