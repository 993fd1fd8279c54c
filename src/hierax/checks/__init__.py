"""Checks after training: is it the right solution, and what limits it?"""
