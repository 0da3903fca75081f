"""What clients do to a service over hours or out of malice, in minutes; `make soak`."""
