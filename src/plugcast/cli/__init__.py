"""What can I type? One thin file per verb; nothing heavy is imported before a verb runs."""
