"""Detection as a stream: from what stations say to findings and scores, each exactly once."""
