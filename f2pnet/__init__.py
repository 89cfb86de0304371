"""What it takes to run an exported engine on one image, and the public Python API."""
