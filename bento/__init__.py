"""The HTTP service: ``POST /recommend`` on the champion bundle, and the page that shows what it does."""
