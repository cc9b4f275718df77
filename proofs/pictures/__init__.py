"""How well a small model draws, from scratch on two cores: picture sets from files to figures."""
