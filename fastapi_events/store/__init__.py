"""The only room with SQL: tables, statements, and the functions that run them."""
