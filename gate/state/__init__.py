"""Connections to what several machines share: Redis or PostgreSQL. What is kept there is said where it is used."""
