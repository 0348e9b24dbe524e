"""What if? Generators of telemetry and the replay of a site."""
