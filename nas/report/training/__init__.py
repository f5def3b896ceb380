"""A run of training, on its page and in the terminal."""
