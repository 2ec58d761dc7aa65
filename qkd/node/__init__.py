"""One station as a service: tags in, key API out. Everything that touches sockets, files and the wall clock is here."""
