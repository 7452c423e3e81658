"""What everything stands on: errors, geometry, files written whole, locks, memory to work in.

It knows nothing of slides.
"""
