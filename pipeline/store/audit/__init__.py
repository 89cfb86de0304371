"""Reading the store back: proof that nothing is missing, and the facts behind one verdict."""
