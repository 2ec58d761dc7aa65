"""How the shipped code family was designed and how it is made anew: nothing here runs on a key path."""
