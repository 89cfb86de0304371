"""From an image to a verdict: tiles, grading by a recipe, results, and pictures of them."""
