"""One slide in a person's hands: opened, masked, listed, looked at. Nothing is written."""
