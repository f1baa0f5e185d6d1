"""Results for people: tables, pictures, comparisons."""
