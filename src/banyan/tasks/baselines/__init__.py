"""Simple systems that every trained model is printed beside."""
