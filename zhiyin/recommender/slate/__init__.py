"""The slate: from ranked candidates to a list, under the slate rules."""
