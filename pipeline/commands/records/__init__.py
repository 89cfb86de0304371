"""Commands that read what a line recorded: alerts, the facts behind a verdict, reviews."""
