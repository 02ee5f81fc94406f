"""The command line of pykvd."""
