"""What happens to light between the source and an analyser: fibre, air, satellite passes, and their noise.

`arm` is the seam to the simulator; each kind of channel has a file of its own, and the physics they share theirs.
"""
