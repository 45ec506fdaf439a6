"""Histories that somebody tampered with: what a frozen model does about them before it reads them."""
