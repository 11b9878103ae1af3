"""Blending: integer weighted sums, weight and threshold search on disputed pixels, cross-fitting, the Recipe.

Arrays in, arrays out: nothing here knows where probabilities are stored. numba is imported when first used.
"""
