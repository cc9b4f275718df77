"""Real data that every machine with Python has: the library's sources, CLDR phrases, scanned digits."""
