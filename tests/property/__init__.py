"""Properties that hold for every conversation; `strategies` draws the conversations."""
