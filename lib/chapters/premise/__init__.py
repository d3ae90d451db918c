"""Is the flow optimal transport?"""
