"""The text encoder: document vectors, fine-tuning and distillation."""
