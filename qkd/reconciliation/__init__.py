"""Information reconciliation: Bob's string becomes Alice's, and every bit disclosed on the way is counted."""
