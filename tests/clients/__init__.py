"""Stock clients, unmodified, against a running service on the starter pack; `make test-clients`."""
