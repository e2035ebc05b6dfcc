"""The encoders: the interest encoder over a user's sequence, and the sentence encoder over documents."""
