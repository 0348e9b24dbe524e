"""What a subscriber of the bus keeps on its disk: ids dealt with, and, to tell people, alerts and notifications."""
