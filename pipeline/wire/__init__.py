"""How workers find and talk to one another: messages, sockets, signs of life, the folder where they meet."""
