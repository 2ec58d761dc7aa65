"""Moving messages: in memory, over TCP with mutual TLS, from a recorded transcript. No protocol logic here."""
