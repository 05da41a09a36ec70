"""Reading uploaded tables: every byte is hostile until it is here. No torch, no pickle."""
