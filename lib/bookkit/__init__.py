"""What makes notebooks a book: parameters, claims, tables, figures, freshness."""
