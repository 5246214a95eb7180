"""Who misses an objective, since when, and why: symptoms and ranked causes.

`facts` says what is looked at, `symptoms` what counts as a miss, `causes` what may explain it.
A new cause is a function and a line in `causes.CAUSES`, and a test that names it.
"""
