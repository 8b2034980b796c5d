"""What every program of the project shares: its arguments, errors for people, locks, and the end of
orphans."""
