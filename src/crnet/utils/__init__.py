"""Helpers that know nothing about the domain: files, processes, devices, provenance."""
