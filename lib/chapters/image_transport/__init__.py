"""Is the map of a model of images optimal transport?"""
