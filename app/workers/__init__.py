"""The three stages of the cascade: their Protocols, their engines, and the private wire between processes."""
