"""One simulation at a URL: its record, publishing it, running it, opening it."""
