"""Prompts of people and programs: services, clicks, and who answers them."""
