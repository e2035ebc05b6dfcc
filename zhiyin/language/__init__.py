"""The words in which people read about a dataset."""
