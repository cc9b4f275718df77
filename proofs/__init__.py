"""Programs that try to break Banyan, and say whether they could."""
