"""What can others ask? The web page and the HTTP API."""
