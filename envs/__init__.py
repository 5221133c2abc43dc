"""Gymnasium trading environments on one compiled kernel; importing registers their ids."""

from envs.registration import register

register()
