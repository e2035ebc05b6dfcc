"""State at a moment: the catalogue, the users, their history, and their live sessions."""
