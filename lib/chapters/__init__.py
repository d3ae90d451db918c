"""What belongs to one chapter: its tasks, the rows of its tables, its figures."""
