"""Training of the interest encoder, on one machine or several."""
