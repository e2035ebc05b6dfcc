"""Forgetting a person: who is not to land again, where a person is found, and how every place is freed of them."""
