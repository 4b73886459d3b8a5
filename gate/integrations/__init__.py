"""Adapters: gate inside what people already run. Each imports a library that an extra of the same name brings."""
