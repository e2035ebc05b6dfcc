"""The HTTP service: ``POST /recommend`` on the champion bundle, and a page that shows its answers."""
