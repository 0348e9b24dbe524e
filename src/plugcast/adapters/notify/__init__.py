"""Ways to tell people: mail, webhooks, and the wording that they share."""
