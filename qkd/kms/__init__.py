"""Key management: the store that a node's keys rest in, certificates, and the key API on top of them."""
