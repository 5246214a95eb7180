"""How fast usage becomes money: events a second, hours and charges a second."""
