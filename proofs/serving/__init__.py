"""Stored answers, given again from the database in every company they could have been in."""
