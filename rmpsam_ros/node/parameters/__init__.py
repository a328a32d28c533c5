"""Parameters: the table, its declaration, its documentation, and what is made of the values."""
