"""One Suricata: its configuration, its process, and the correction of its events."""
