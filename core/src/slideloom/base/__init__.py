"""What every other package needs: errors, geometry, CSV tables, safe writing of files, locks, scratch memory.

Nothing here knows about slides.
"""
