"""Ways of computing what one network answers: the same numbers, at different speeds."""
