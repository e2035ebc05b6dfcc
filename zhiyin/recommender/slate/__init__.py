"""The slate: from ranked candidates to a list, under a shop's rules."""
