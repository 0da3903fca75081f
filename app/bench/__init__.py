"""`parley bench`: what this machine does with Parley. Bounded, loopback only, never part of the tests."""
