"""The goals of a server that loses nothing and opens no door, each tried at its stated size."""
