"""Who must know: findings become alerts, alerts become few notifications. Pure: time comes in as an argument."""
