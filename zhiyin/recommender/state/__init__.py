"""What is known at a moment: the catalogue, users, their history, and what they did since."""
