"""One file a corpus format; each yields rows and where their audio is."""
