"""What did we know at time t? Features of samples and sessions, computed in batch and online from one spec."""
